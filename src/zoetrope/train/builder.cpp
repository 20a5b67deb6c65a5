#include "zoetrope/train/builder.h"

#include "zoetrope/base/error.h"
#include "zoetrope/networks/pipeline_folder.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/tensor/dtype.h"

namespace zoetrope {
namespace {

TimestepDensityOptions timestep_density(const ModelTrainingConfig& config) {
  TimestepDensityOptions options;
  if (config.weighting_scheme == "logit_normal") options.density = TimestepDensity::kLogitNormal;
  if (config.weighting_scheme == "mode") options.density = TimestepDensity::kMode;
  options.logit_mean = config.logit_mean;
  options.logit_std = config.logit_std;
  options.mode_scale = config.mode_scale;
  return options;
}

ModelContext model_context(const RunConfig& config, RandomSource& random,
                           const std::shared_ptr<const Mesh>& mesh) {
  const TrainingConfig& training = config.training;
  ModelContext context;
  context.device = resolve_device(training.distributed.device, mesh->local_rank);
  context.compute_dtype = parse_dtype(training.model.compute_dtype).value();
  context.timestep_density = timestep_density(training.model);
  context.gradient_checkpointing = training.model.enable_gradient_checkpointing_type;
  context.data_type = training.data.preprocessed_data_type;
  context.num_latent_frames = training.data.num_latent_t;
  context.num_height = training.data.num_height;
  context.num_width = training.data.num_width;
  context.local_attn_size = config.pipeline.dit_config.local_attn_size;
  context.sink_size = config.pipeline.dit_config.sink_size;
  context.random = &random;
  context.mesh = mesh;
  context.sharding.deterministic = training.distributed.deterministic;
  context.sharding.reduce_dtype = parse_dtype(training.distributed.reduce_dtype).value();
  return context;
}

double flow_shift(const RunConfig& config, const std::filesystem::path& pipeline_folder) {
  return config.pipeline.flow_shift ? *config.pipeline.flow_shift
                                    : pipeline_flow_shift(pipeline_folder);
}

}  // namespace

MeshSizes mesh_sizes(const DistributedConfig& given) {
  DistributedConfig config = given;
  config.resolve();
  return {config.hsdp_replicate_dim, *config.hsdp_shard_dim, *config.sp_size, config.tp_size};
}

std::unique_ptr<TrainingMethod> build_method(const RunConfig& config,
                                             const ComponentRegistries& registries,
                                             RandomSource& random,
                                             const std::shared_ptr<const Mesh>& mesh) {
  const ModelContext context = model_context(config, random, mesh);
  MethodContext method_context;
  for (const auto& [role, component] : config.models) {
    try {
      method_context.roles.add(role, registries.models.make(component, context));
    } catch (const std::exception&) {
      std::throw_with_nested(Error(fmt::format("models.{}: the model could not be built", role)));
    }
  }
  method_context.optimizer = config.training.optimizer;
  method_context.max_train_steps = config.training.loop.max_train_steps;
  method_context.precondition_outputs = config.training.model.precondition_outputs;
  const ModelBase& student = method_context.roles.require("student", true, "training");
  method_context.flow_shift = flow_shift(config, student.pipeline_folder());
  method_context.num_latent_frames = config.training.data.num_latent_t;
  method_context.random = &random;
  auto method = registries.methods.make(config.method, std::move(method_context));
  method->student().init_preprocessors();
  return method;
}

NamedCallbacks build_callbacks(const RunConfig& config, const ComponentRegistries& registries,
                               TrainingMethod& method, const std::shared_ptr<const Mesh>& mesh) {
  CallbackContext context;
  context.mesh = mesh;
  context.output_dir = config.training.checkpoint.output_dir;
  context.pipeline_folder = method.student().pipeline_folder();
  context.device = resolve_device(config.training.distributed.device, mesh->local_rank);
  context.data = config.training.data;
  context.flow_shift = flow_shift(config, context.pipeline_folder);
  NamedCallbacks callbacks;
  for (const auto& [name, component] : config.callbacks) {
    callbacks.emplace_back(name, registries.callbacks.make(component, context));
  }
  return callbacks;
}

TrainingData build_data(const RunConfig& config, TrainingMethod& method, const Mesh& mesh) {
  const DataConfig& data = config.training.data;
  TrainingData built;
  built.dataset = std::make_unique<ParquetDataset>(data.data_path.sources,
                                                   parquet_schema(method.student().data_type()));
  SampleOrderOptions order;
  order.kind = data.sampler == "fastvideo" ? SampleOrderKind::kFastVideo : SampleOrderKind::kKeyed;
  order.seed = data.seed;
  order.batch_size = data.train_batch_size;
  order.num_groups = mesh.sizes.num_data_groups();
  order.group_index = mesh.place.data_group;
  LoaderOptions options;
  options.num_workers = data.dataloader_num_workers;
  options.text_dropout_rate = data.training_cfg_rate;
  options.num_latent_frames = data.num_latent_t;
  built.loader = std::make_unique<DataLoader>(*built.dataset, order, options);
  return built;
}

}  // namespace zoetrope
