#include "zoetrope/models/model.h"

#include <ATen/ATen.h>

namespace zoetrope {

ParameterStore::Options parameter_options(const ModelContext& context, bool trainable) {
  ParameterStore::Options options{context.device, context.compute_dtype, trainable};
  options.num_shards = context.mesh->shard->size();
  options.shard_index = context.mesh->shard->index();
  options.separate_gradients = context.sharding.deterministic;
  return options;
}

void connect_parameters(ParameterStore& parameters, const ModelContext& context) {
  const Mesh& mesh = *context.mesh;
  if (mesh.data->size() == 1 && mesh.tensor->size() == 1 && !context.sharding.deterministic) return;
  const bool is_sharded = parameters.options().num_shards > 1;
  const ShardedParameters::Groups groups = {
      is_sharded ? mesh.shard : Group::alone("shard"),
      is_sharded || mesh.shard->size() == 1 ? mesh.replicate : mesh.data, mesh.tensor};
  parameters.set_residency(std::make_unique<ShardedParameters>(parameters, groups, context.sharding,
                                                               context.memory_pool));
}

void ModelBase::backward(const at::Tensor& loss, int64_t num_accumulation_rounds) {
  (loss / static_cast<double>(num_accumulation_rounds)).backward();
}

}  // namespace zoetrope
