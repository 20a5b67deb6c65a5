// The config.json of one component of a Diffusers pipeline folder, read field by field with
// messages that name the file.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"

namespace zoetrope {

class ComponentConfig {
 public:
  /// Reads `path`. Throws Error when it cannot be read and CheckpointError when it is not a JSON
  /// object.
  explicit ComponentConfig(const std::filesystem::path& path);

  const std::string& where() const { return where_; }  ///< the file, for messages
  const nlohmann::json& json() const { return json_; }
  /// Whether `key` is there with a value other than null.
  bool has(const std::string& key) const { return json_.contains(key) && !json_.at(key).is_null(); }

  /// The value of `key`. Throws CheckpointError when it is absent or of another type.
  template <class T>
  T require(const std::string& key) const {
    if (!has(key)) fail<CheckpointError>("{}: must have '{}', but it is missing", where_, key);
    return convert<T>(key);
  }
  /// The value of `key`, or `fallback` when it is absent or null, as the library that wrote the
  /// file does.
  template <class T>
  T get_or(const std::string& key, T fallback) const {
    return has(key) ? convert<T>(key) : std::move(fallback);
  }

 private:
  template <class T>
  T convert(const std::string& key) const {
    try {
      return json_.at(key).get<T>();
    } catch (const nlohmann::json::exception&) {
      fail<CheckpointError>("{}: '{}' has a value of the wrong type: {}", where_, key,
                            json_.at(key).dump());
    }
  }

  std::string where_;
  nlohmann::json json_;
};

}  // namespace zoetrope
