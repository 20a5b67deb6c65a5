// The config reference, generated from the same field lists that read configs.
#pragma once

#include <string>

#include "zoetrope/train/run_config.h"

namespace zoetrope {

/// The whole reference: sections, then targets by kind, then what is not built yet.
std::string config_reference_markdown(const TargetTables& tables);

/// For the console. `name` picks one target (by any name) or section (`training.optimizer`); empty
/// picks all. Throws ConfigError for an unknown name.
std::string config_reference_text(const TargetTables& tables, const std::string& name);

}  // namespace zoetrope
