// Where a model named in a config lies: a local folder, or a snapshot in Hugging Face's cache.
// Never downloads. Source: Hugging Face hub's cache layout (models--org--name/refs/main names the
// folder under snapshots/).
#pragma once

#include <filesystem>
#include <string>

namespace zoetrope {

/// `~` and `~/...` with the user's home folder in place of `~`; anything else as it is.
std::filesystem::path expand_user(const std::string& path);

/// The folder of Hugging Face's model cache: HF_HUB_CACHE, else HF_HOME/hub, else
/// XDG_CACHE_HOME/huggingface/hub, else
/// ~/.cache/huggingface/hub.
std::filesystem::path hugging_face_cache();

/// A local folder as it is, else the cached snapshot of a Hugging Face name (`org/name`). Throws
/// Error: for a name that is not cached with the exact download command, for anything else with
/// what is wrong with the path.
std::filesystem::path resolve_model_path(const std::string& name_or_path);

}  // namespace zoetrope
