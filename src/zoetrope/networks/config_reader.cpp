#include "zoetrope/networks/config_reader.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "zoetrope/base/nearest.h"

namespace zoetrope {
namespace {

bool is_integer_of_at_least(const nlohmann::json& value, int64_t minimum) {
  return value.is_number_integer() && value.get<int64_t>() >= minimum;
}

}  // namespace

ConfigReader::ConfigReader(const nlohmann::json& json, std::string owner)
    : json_(json), owner_(std::move(owner)) {}

bool ConfigReader::present(const std::string& key, bool required) {
  known_.push_back(key);
  if (json_.contains(key)) return true;
  if (required) faults_.push_back(fmt::format("'{}' must be given, but is missing", key));
  return false;
}

void ConfigReader::integer(const std::string& key, int64_t minimum, int64_t& value, bool required) {
  if (!present(key, required)) return;
  if (!is_integer_of_at_least(json_.at(key), minimum)) {
    return fault(key, minimum > 0 ? "must be a positive integer" : "must be an integer from 0");
  }
  value = json_.at(key).get<int64_t>();
}

void ConfigReader::positive(const std::string& key, int64_t& value, bool required) {
  integer(key, 1, value, required);
}

void ConfigReader::not_negative(const std::string& key, int64_t& value, bool required) {
  integer(key, 0, value, required);
}

void ConfigReader::optional_positive(const std::string& key, std::optional<int64_t>& value) {
  if (!present(key, false) || json_.at(key).is_null()) return;
  int64_t number = 0;
  positive(key, number, false);
  value = number;
}

void ConfigReader::boolean(const std::string& key, bool& value) {
  if (!present(key, false)) return;
  if (!json_.at(key).is_boolean()) return fault(key, "must be true or false");
  value = json_.at(key).get<bool>();
}

void ConfigReader::positive_real(const std::string& key, double& value) {
  if (!present(key, false)) return;
  if (!json_.at(key).is_number() || !(json_.at(key).get<double>() > 0)) {
    return fault(key, "must be a positive number");
  }
  value = json_.at(key).get<double>();
}

void ConfigReader::three_integers(const std::string& key, int64_t minimum,
                                  std::array<int64_t, 3>& value) {
  if (!present(key, false)) return;
  const nlohmann::json& entry = json_.at(key);
  bool good = entry.is_array() && entry.size() == value.size();
  for (size_t i = 0; good && i < value.size(); ++i) {
    good = is_integer_of_at_least(entry[i], minimum);
    if (good) value[i] = entry[i].get<int64_t>();
  }
  if (!good) fault(key, minimum > 0 ? "must be three positive integers" : "must be three integers");
}

void ConfigReader::indices(const std::string& key, std::vector<int64_t>& value) {
  if (!present(key, false)) return;
  const nlohmann::json& entry = json_.at(key);
  const auto is_index = [](const nlohmann::json& item) { return is_integer_of_at_least(item, 0); };
  if (!entry.is_array() || !std::all_of(entry.begin(), entry.end(), is_index))
    return fault(key, "must be a list of integers from 0");
  value = entry.get<std::vector<int64_t>>();
}

void ConfigReader::optional_integer(const std::string& key, int64_t minimum,
                                    std::optional<int64_t>& value) {
  if (!present(key, false) || json_.at(key).is_null()) return;
  const nlohmann::json& entry = json_.at(key);
  if (!is_integer_of_at_least(entry, minimum) || (minimum != 0 && entry.get<int64_t>() == 0)) {
    return fault(key, minimum < 0 ? "must be -1 or a positive integer"
                                  : fmt::format("must be an integer of at least {}", minimum));
  }
  value = entry.get<int64_t>();
}

void ConfigReader::optional_choice(const std::string& key, const std::vector<std::string>& choices,
                                   std::optional<std::string>& value) {
  if (!present(key, false) || json_.at(key).is_null()) return;
  const nlohmann::json& entry = json_.at(key);
  if (!entry.is_string() || std::find(choices.begin(), choices.end(), entry) == choices.end())
    return fault(key, fmt::format("must be one of {}", fmt::join(choices, ", ")));
  value = entry.get<std::string>();
}

void ConfigReader::only(const std::string& key, const nlohmann::json& supported) {
  if (!present(key, false) || json_.at(key) == supported) return;
  fault(key, fmt::format("must be {} (nothing else is supported)", supported.dump()));
}

const nlohmann::json* ConfigReader::object(const std::string& key) {
  if (!present(key, false) || json_.at(key).is_null()) return nullptr;
  if (json_.at(key).is_object()) return &json_.at(key);
  fault(key, "must be an object");
  return nullptr;
}

void ConfigReader::refuse_unknown_keys() {
  for (const auto& [key, value] : json_.items()) {
    if (key.starts_with("_") || std::find(known_.begin(), known_.end(), key) != known_.end())
      continue;
    faults_.push_back(fmt::format("'{}' must be a key of {}, but is not{}", key, owner_,
                                  did_you_mean(key, known_)));
  }
}

void ConfigReader::fault(const std::string& key, const std::string& must) {
  faults_.push_back(fmt::format("'{}' {}, but is {}", key, must, json_.at(key).dump()));
}

}  // namespace zoetrope
