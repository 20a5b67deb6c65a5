// FastVideo's validation file: {"data": [{"caption": ...}, ...]}.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zoetrope {

struct ValidationPrompt {
  std::string caption;
};

/// Reads `path`. Media of an item (image_path, video_path, ...) is for image-to-video models, which
/// read it themselves. Throws DataError naming the file and the item: not JSON, no `data` list, an
/// item without a caption.
std::vector<ValidationPrompt> read_validation_prompts(const std::filesystem::path& path);

}  // namespace zoetrope
