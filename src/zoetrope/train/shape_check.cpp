#include "zoetrope/train/shape_check.h"

#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_parameters.h"
#include "zoetrope/train/builder.h"
#include "zoetrope/train/run_plan.h"

namespace zoetrope {
namespace {

void check_networks(const std::vector<Stage>& stages, size_t index, const MeshSizes& sizes,
                    config::Issues& issues) {
  for (const auto& [role, component] : stages[index].config.models) {
    const auto found = network_of(stages, component);
    if (!found) continue;
    try {
      check_parallel_ranks(found->shape, sizes.sequence, sizes.tensor);
      if (found->lora)
        lora_parameter_specs(wan_transformer_parameter_specs(found->shape), *found->lora);
    } catch (const ConfigError& error) {
      issues.add({}, fmt::format("models.{}", role), error.what());
    }
  }
}

int64_t count_rows_if_readable(const std::vector<DataSource>& sources, int64_t enough) {
  try {
    return count_rows(sources, enough);
  } catch (const DataError&) {
    return enough;
  }
}

}  // namespace

void check_shapes(const std::vector<Stage>& stages, size_t index, config::Issues& issues) {
  const TrainingConfig& training = stages[index].config.training;
  const MeshSizes sizes = mesh_sizes(training.distributed);
  check_networks(stages, index, sizes, issues);
  const int64_t num_groups = sizes.num_data_groups();
  if (num_groups == 1) return;
  const int64_t num_rows = count_rows_if_readable(training.data.data_path.sources, num_groups);
  if (num_rows < num_groups) {
    issues.add({}, "training.data.data_path",
               fmt::format("must have a sample for each of the {} groups of ranks that read "
                           "different ones ({} ranks, sp_size {}, tp_size {}), but has {}; use "
                           "fewer ranks or a larger sp_size",
                           num_groups, sizes.num_ranks(), sizes.sequence, sizes.tensor, num_rows));
  }
}

}  // namespace zoetrope
