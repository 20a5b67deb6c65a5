#include "zoetrope/checkpoint/checkpoint_metadata.h"

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {

nlohmann::json read_checkpoint_metadata(const CheckpointFolder& checkpoint) {
  const std::filesystem::path path = checkpoint.path / "metadata.json";
  auto json = nlohmann::json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    fail<CheckpointError>("{}: must be a JSON object, but is not", path.string());
  if (!json.contains("zoetrope")) return json;
  const auto version = json["zoetrope"].value("format_version", nlohmann::json());
  if (version != kCheckpointFormatVersion) {
    fail<CheckpointError>(
        "{}: must have the checkpoint format {}, but has {}; use the version of Zoetrope that "
        "wrote "
        "it",
        checkpoint.path.string(), kCheckpointFormatVersion, version.dump());
  }
  return json;
}

}  // namespace zoetrope
