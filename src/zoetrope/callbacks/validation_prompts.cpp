#include "zoetrope/callbacks/validation_prompts.h"

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace {

/// The path under the first of `keys` that the item has; empty when there is none.
std::filesystem::path media_path(const nlohmann::json& item,
                                 std::initializer_list<const char*> keys,
                                 const std::filesystem::path& file) {
  for (const char* key : keys) {
    if (!item.contains(key) || item[key].is_null()) continue;
    if (!item[key].is_string())
      fail<DataError>("{}: {} must be a path, but is {}", file.string(), key, item[key].dump());
    if (const auto text = item[key].get<std::string>(); !text.empty())
      return file.parent_path() / text;
  }
  return {};
}

}  // namespace

std::vector<ValidationPrompt> read_validation_prompts(const std::filesystem::path& path) {
  const nlohmann::json document =
      nlohmann::json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || !document.contains("data") || !document["data"].is_array()) {
    fail<DataError>("{}: must be a JSON object with a list named data, but is not", path.string());
  }
  std::vector<ValidationPrompt> prompts;
  for (const nlohmann::json& item : document["data"]) {
    if (!item.is_object() || !item.contains("caption") || !item["caption"].is_string()) {
      fail<DataError>("{}: data[{}]: must have a caption, but has none", path.string(),
                      prompts.size());
    }
    prompts.push_back({item["caption"].get<std::string>(),
                       media_path(item, {"image_path", "video_path"}, path),
                       media_path(item, {"action_path"}, path)});
  }
  if (prompts.empty())
    fail<DataError>("{}: must have at least one item in data, but has none", path.string());
  return prompts;
}

}  // namespace zoetrope
