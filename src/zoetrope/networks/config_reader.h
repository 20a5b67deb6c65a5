// Values out of a network's config.json that collects everything that is wrong with them, so that
// all faults are named at once.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace zoetrope {

class ConfigReader {
 public:
  /// `owner` is what the object describes, for messages. `json`, an object, must outlive the
  /// reader.
  ConfigReader(const nlohmann::json& json, std::string owner);

  /// Each leaves its value as it is when the key is absent; a required key must be there.
  void positive(const std::string& key, int64_t& value, bool required);
  /// 0 is allowed, too.
  void not_negative(const std::string& key, int64_t& value, bool required);
  void optional_positive(const std::string& key, std::optional<int64_t>& value);
  void boolean(const std::string& key, bool& value);
  void positive_real(const std::string& key, double& value);
  /// Three integers of at least `minimum`.
  void three_integers(const std::string& key, int64_t minimum, std::array<int64_t, 3>& value);
  /// Integers of at least 0.
  void indices(const std::string& key, std::vector<int64_t>& value);
  /// An integer of at least `minimum` that is not 0 unless `minimum` is.
  void optional_integer(const std::string& key, int64_t minimum, std::optional<int64_t>& value);
  void optional_choice(const std::string& key, const std::vector<std::string>& choices,
                       std::optional<std::string>& value);
  /// `key` may only be absent or equal to `supported`.
  void only(const std::string& key, const nlohmann::json& supported);
  /// The object at `key`; null when it is absent or null.
  const nlohmann::json* object(const std::string& key);
  /// Faults of every key that no call above asked for, unless it begins with `_`.
  void refuse_unknown_keys();

  const std::vector<std::string>& faults() const { return faults_; }
  void fault(const std::string& message) { faults_.push_back(message); }
  /// `'key' <must>, but is <value>`.
  void fault(const std::string& key, const std::string& must);

 private:
  bool present(const std::string& key, bool required);
  void integer(const std::string& key, int64_t minimum, int64_t& value, bool required);

  const nlohmann::json& json_;
  std::string owner_;
  std::vector<std::string> known_;
  std::vector<std::string> faults_;
};

}  // namespace zoetrope
