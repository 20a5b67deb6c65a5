// Names of the Wan transformer's tensors in the files of others: Diffusers (ours), FastVideo's
// modules, the original release, and ComfyUI. Knows names only; tensors are the same in all.
// Source: diffusers scripts/convert_wan_to_diffusers.py; FastVideo configs/models/dits/wanvideo.py.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {

enum class WanKeyLayout {
  kDiffusers,  ///< `blocks.0.attn1.to_q.weight`
  kFastVideo,  ///< `blocks.0.to_q.weight`
  kOriginal,   ///< `blocks.0.self_attn.q.weight`
};

/// How a file names its tensors: a layout, and what stands before each name.
struct WanKeyFormat {
  WanKeyLayout layout = WanKeyLayout::kDiffusers;
  std::string prefix;

  bool operator==(const WanKeyFormat&) const = default;
  /// `Diffusers`, `original Wan`, `ComfyUI (original Wan below model.diffusion_model.)`: for
  /// people.
  std::string describe() const;
};

/// The original names below the prefix by which ComfyUI's loaders know a diffusion model.
WanKeyFormat comfyui_key_format();

/// The format of a file with these names; nothing when they are not a Wan transformer's.
std::optional<WanKeyFormat> detect_wan_key_format(const std::vector<std::string>& names);

/// `name` in another format. What follows a known layer (`.weight`, `.lora_A.weight`) is kept.
/// Throws CheckpointError for a name that `from` does not have.
std::string rename_wan_key(const std::string& name, const WanKeyFormat& from,
                           const WanKeyFormat& to);

std::string to_fastvideo_name(const std::string& diffusers_name);
std::string from_fastvideo_name(const std::string& fastvideo_name);

/// The transformer's weights out of a Diffusers folder or a single file in any of the formats, by
/// their Diffusers names. Strict as WeightFolder::load_strict, with the file's own names in errors;
/// the file may hold `unused` tensors, too.
NamedTensors load_wan_weights(const std::filesystem::path& folder_or_file,
                              const std::vector<TensorSpec>& specs,
                              const std::vector<TensorSpec>& unused = {});

}  // namespace zoetrope
