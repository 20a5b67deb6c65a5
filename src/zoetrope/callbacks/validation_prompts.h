// FastVideo's validation file: {"data": [{"caption": ..., "image_path": ..., "action_path": ...},
// ...]}. Opens no media.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zoetrope {

/// One video to be made.
struct ValidationPrompt {
  std::string caption;
  std::filesystem::path image = {};    ///< what it begins with: a picture, or a video's first frame
  std::filesystem::path actions = {};  ///< what steers it (see read_action_file)
};

/// Reads `path`; media paths count from its folder. Which of them a model takes is for the caller.
/// Throws DataError naming the file and the item: not JSON, no `data` list, an item without a
/// caption, a path that is no text.
std::vector<ValidationPrompt> read_validation_prompts(const std::filesystem::path& path);

}  // namespace zoetrope
