// Stages of a config: several methods trained one after another, each from what the one before
// has exported. Turns a document with `stages` into one config a stage, and back; a plain config is
// one stage without a name. Loads nothing. See docs/decisions/0007-stages.md.
#pragma once

#include <string>
#include <vector>

#include "zoetrope/config/overrides.h"
#include "zoetrope/train/run_config.h"

namespace zoetrope {

struct Stage {
  std::string name;  ///< empty for a plain config
  RunConfig config;  ///< of this stage alone; where a role starts may still be `stage:<name>`
};

/// Reads every stage and adds the faults of all of them to `issues`; the result is meant to be used
/// only when there is none. Each entry of `stages` is laid over the rest of the document
/// (config::merge); then `--key` overrides are applied to every stage and `--stages.<name>.key` to
/// one. The student of every stage but the first starts from the stage before, unless its entry
/// says otherwise.
std::vector<Stage> read_stages(const config::Node& document,
                               const std::vector<config::Override>& overrides,
                               const TargetTables& tables, config::Issues& issues);

/// The resolved config, every default written out; itself a document that read_stages takes.
config::Node write_stages(const std::vector<Stage>& stages);

}  // namespace zoetrope
