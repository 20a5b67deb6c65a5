// A whole training config, typed: reads the document of a run, checks it across sections, and
// writes it back resolved. Knows targets only by their tables; loads no weights and touches no
// tensor. Source: FastVideo train/utils/config.py (sections and their rules).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "zoetrope/config/registry.h"
#include "zoetrope/train/training_config.h"

namespace zoetrope {

/// `pipeline.dit_config`: overrides of the transformer's own config.
struct DitConfig {
  std::optional<int64_t> local_attn_size;
  std::optional<int64_t> sink_size;

  static void describe(config::Schema<DitConfig>& schema);
};

/// `pipeline`: how the trained network is sampled. A map, or the path of a JSON or YAML file that
/// holds one.
struct PipelineConfig {
  std::optional<double> flow_shift;
  DitConfig dit_config;

  static void describe(config::Schema<PipelineConfig>& schema);
};

/// The tables that `_target_` keys are looked up in; borrowed.
struct TargetTables {
  const config::TargetTable& models;
  const config::TargetTable& methods;
  const config::TargetTable& callbacks;
};

using NamedComponents = std::vector<std::pair<std::string, config::Component>>;

struct RunConfig {
  NamedComponents models;  ///< role -> model, in the order of the file
  config::Component method;
  TrainingConfig training;
  NamedComponents callbacks;  ///< name -> callback, in the order of the file; then the method's
                              ///< default ones that are not in it
  PipelineConfig pipeline;
  config::Node raw;  ///< the document after overrides
};

/// Reads the whole document and adds every fault to `issues`; the result is meant to be used only
/// when there is none. What follows from other values (sp_size, model_path) is filled in.
RunConfig read_run_config(const config::Node& document, const TargetTables& tables,
                          config::Issues& issues);

/// The resolved config, every default written out; itself a document that read_run_config takes.
config::Node write_run_config(const RunConfig& run);

}  // namespace zoetrope
