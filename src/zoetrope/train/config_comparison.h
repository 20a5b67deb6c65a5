// What differs between the config of a run and that of the checkpoint it resumes from, and which
// differences a resumed run cannot honour.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "zoetrope/config/node.h"

namespace zoetrope {

/// Every scalar of a document (lists of scalars as one) with its path, in their order.
std::vector<std::pair<std::string, std::string>> config_scalars(const config::Node& document);

struct ConfigDifference {
  std::string path;        ///< `training.optimizer.learning_rate`
  std::string checkpoint;  ///< the value then; `absent` when there was none
  std::string run;         ///< the value now
  bool is_fault = false;   ///< the state of the checkpoint does not fit the value now
};

enum class ConfigForm {
  kResolved,  ///< all keys are there
  kWritten,   ///< as in the YAML files: what one of them leaves to its defaults is not compared
};

/// Every scalar that differs, in the order of `run`. Where a run resumes from is left out.
std::vector<ConfigDifference> compare_configs(const config::Node& checkpoint,
                                              const config::Node& run, ConfigForm form);

/// Prints the differences. Throws ConfigError that lists those that cannot be honoured.
void report_differences(const std::vector<ConfigDifference>& differences,
                        const std::string& checkpoint);

}  // namespace zoetrope
