#include "zoetrope/networks/component_config.h"

#include "zoetrope/base/file.h"

namespace zoetrope {

ComponentConfig::ComponentConfig(const std::filesystem::path& path)
    : where_(path.string()),
      json_(nlohmann::json::parse(read_file(path), nullptr, /*allow_exceptions=*/false)) {
  if (!json_.is_object()) fail<CheckpointError>("{}: must be a JSON object", where_);
}

}  // namespace zoetrope
