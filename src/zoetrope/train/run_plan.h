// From a checked config to the plan of its run: reads the shapes of networks, and nothing else.
#pragma once

#include <optional>

#include <c10/core/Device.h>

#include "zoetrope/plan/plan_report.h"
#include "zoetrope/train/run_config.h"
#include "zoetrope/train/stages.h"

namespace zoetrope {

/// What stages[index] asks of its ranks. A network's shape comes from its folder's
/// `transformer/config.json`; for a Hugging Face name that is not in the cache from the published
/// sizes (networks/random_pipeline.h) if the name contains one; for `stage:<name>` from where that
/// stage starts. Throws ConfigError that lists every role whose shape cannot be found, and for a
/// method that does not say what it does.
RunDescription describe_run(const std::vector<Stage>& stages, size_t index,
                            const TargetTables& tables);

struct RoleNetwork {
  WanTransformerConfig shape;
  std::optional<LoraOptions> lora;  ///< of its adapters
};

/// The network of a role of one of `stages`, found in the same way; nothing where it cannot be.
std::optional<RoleNetwork> network_of(const std::vector<Stage>& stages,
                                      const config::Component& role);

/// The same run on GPUs, whatever device the config names.
RunDescription on_gpus(RunDescription run);

/// The CPU of this machine, its memory shared by the ranks that it has.
PlanTarget machine_target(int64_t ranks_per_machine);

/// Says how much memory a rank of `config` will need, and warns when `device` has less. Nothing for
/// a config that cannot be planned.
void log_memory_plan(const RunConfig& config, const TargetTables& tables, const c10::Device& device,
                     int64_t ranks_per_machine);

}  // namespace zoetrope
