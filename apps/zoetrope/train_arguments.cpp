#include "zoetrope/train_arguments.h"

namespace zoetrope {

TrainArguments split_train_arguments(const std::vector<std::string>& arguments) {
  TrainArguments split;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool is_flag = argument == "--dry-run" || argument == "--help" || argument == "-h";
    const bool takes_file = argument == "--config";
    const bool is_own =
        is_flag || takes_file || argument.starts_with("--config=") || !argument.starts_with("--");
    std::vector<std::string>& target = is_own ? split.own : split.overrides;
    target.push_back(argument);
    const bool takes_next = takes_file || (!is_own && argument.find('=') == std::string::npos);
    if (takes_next && i + 1 < arguments.size()) target.push_back(arguments[++i]);
  }
  return split;
}

TrainArguments split_dotted_arguments(const std::vector<std::string>& arguments) {
  TrainArguments split;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const std::string key = argument.substr(0, argument.find('='));
    const bool is_override = key.starts_with("--") && key.find('.') != std::string::npos;
    (is_override ? split.overrides : split.own).push_back(argument);
    if (is_override && key == argument && i + 1 < arguments.size())
      split.overrides.push_back(arguments[++i]);
  }
  return split;
}

std::string config_file(const TrainArguments& arguments) {
  const std::string option = "--config";
  for (size_t i = 0; i < arguments.own.size(); ++i) {
    const std::string& argument = arguments.own[i];
    if (argument == option) return i + 1 < arguments.own.size() ? arguments.own[i + 1] : "";
    if (argument.starts_with(option + "=")) return argument.substr(option.size() + 1);
    if (!argument.starts_with("-")) return argument;
  }
  return "";
}

}  // namespace zoetrope
