// Splits the command line of `train`: FastVideo's `--section.key VALUE` overrides are told from the
// command's own options, which an option parser cannot do because an override's value may look like
// anything.
#pragma once

#include <string>
#include <vector>

namespace zoetrope {

struct TrainArguments {
  std::vector<std::string> own;        ///< `FILE`, `--config FILE`, `--dry-run`, `--help`
  std::vector<std::string> overrides;  ///< everything else, keys and values
};

/// `arguments` are those after the word `train`. A `--key` that is not the command's own takes the
/// next argument as its value unless it has an `=`.
TrainArguments split_train_arguments(const std::vector<std::string>& arguments);

/// The same for a command with options of its own: overrides are those whose key has a dot.
TrainArguments split_dotted_arguments(const std::vector<std::string>& arguments);

/// The config that the command's own arguments name; empty when there is none.
std::string config_file(const TrainArguments& arguments);

}  // namespace zoetrope
