// Copies of Diffusers pipeline folders in which one component is replaced.
#pragma once

#include <filesystem>
#include <string>

namespace zoetrope {

/// Makes `target` a copy of the pipeline folder `source` without the weights of
/// `replaced_component`, whose folder is left to the caller. Files of 16 MiB or more are hard links
/// where the file system allows it, all others copies; links into a Hugging Face cache are
/// followed. Throws CheckpointError naming the file that failed.
void copy_pipeline_folder(const std::filesystem::path& source, const std::filesystem::path& target,
                          const std::string& replaced_component);

/// Makes the model_index.json of `folder` name `class_name` for `component`. Throws CheckpointError
/// when the file is damaged.
void rename_component_class(const std::filesystem::path& folder, const std::string& component,
                            const std::string& class_name);

}  // namespace zoetrope
