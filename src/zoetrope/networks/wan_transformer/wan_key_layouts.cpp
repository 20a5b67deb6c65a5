#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr std::string_view kBlocks = "blocks.";
constexpr std::string_view kPatches = "patch_embedding.";
constexpr std::string_view kGamePatches = "patch_embedding.proj.";
constexpr std::string_view kComfyUiPrefix = "model.diffusion_model.";

/// The names of one layer, in the order of WanKeyLayout.
using LayerNames = std::array<std::string_view, 3>;

// Layers outside the blocks.
constexpr LayerNames kOuterLayers[] = {
    {"patch_embedding", "patch_embedding.proj", "patch_embedding"},
    {"patch_embedding.proj", "patch_embedding.proj", "patch_embedding"},  // of game networks
    {"condition_embedder.time_embedder.linear_1", "condition_embedder.time_embedder.mlp.fc_in",
     "time_embedding.0"},
    {"condition_embedder.time_embedder.linear_2", "condition_embedder.time_embedder.mlp.fc_out",
     "time_embedding.2"},
    {"condition_embedder.time_proj", "condition_embedder.time_modulation.linear",
     "time_projection.1"},
    {"condition_embedder.text_embedder.linear_1", "condition_embedder.text_embedder.fc_in",
     "text_embedding.0"},
    {"condition_embedder.text_embedder.linear_2", "condition_embedder.text_embedder.fc_out",
     "text_embedding.2"},
    {"condition_embedder.image_embedder.pos_embed", "condition_embedder.image_embedder.pos_embed",
     "img_emb.emb_pos"},
    {"condition_embedder.image_embedder.norm1", "condition_embedder.image_embedder.norm1",
     "img_emb.proj.0"},
    {"condition_embedder.image_embedder.ff.net.0.proj",
     "condition_embedder.image_embedder.ff.fc_in", "img_emb.proj.1"},
    {"condition_embedder.image_embedder.ff.net.2", "condition_embedder.image_embedder.ff.fc_out",
     "img_emb.proj.3"},
    {"condition_embedder.image_embedder.norm2", "condition_embedder.image_embedder.norm2",
     "img_emb.proj.4"},
    {"scale_shift_table", "scale_shift_table", "head.modulation"},
    {"proj_out", "proj_out", "head.head"},
};

// Layers of a block, below `blocks.N.`.
constexpr LayerNames kBlockLayers[] = {
    {"scale_shift_table", "scale_shift_table", "modulation"},
    {"attn1.to_q", "to_q", "self_attn.q"},
    {"attn1.to_k", "to_k", "self_attn.k"},
    {"attn1.to_v", "to_v", "self_attn.v"},
    {"attn1.to_out.0", "to_out", "self_attn.o"},
    {"attn1.norm_q", "norm_q", "self_attn.norm_q"},
    {"attn1.norm_k", "norm_k", "self_attn.norm_k"},
    {"attn2.to_q", "attn2.to_q", "cross_attn.q"},
    {"attn2.to_k", "attn2.to_k", "cross_attn.k"},
    {"attn2.to_v", "attn2.to_v", "cross_attn.v"},
    {"attn2.to_out.0", "attn2.to_out", "cross_attn.o"},
    {"attn2.norm_q", "attn2.norm_q", "cross_attn.norm_q"},
    {"attn2.norm_k", "attn2.norm_k", "cross_attn.norm_k"},
    {"attn2.add_k_proj", "attn2.add_k_proj", "cross_attn.k_img"},
    {"attn2.add_v_proj", "attn2.add_v_proj", "cross_attn.v_img"},
    {"attn2.norm_added_k", "attn2.norm_added_k", "cross_attn.norm_k_img"},
    {"attn2.norm_added_q", "attn2.norm_added_q", "attn2.norm_added_q"},
    {"action_model", "action_model", "action_model"},
    {"norm2", "self_attn_residual_norm.norm", "norm3"},
    {"ffn.net.0.proj", "ffn.fc_in", "ffn.0"},
    {"ffn.net.2", "ffn.fc_out", "ffn.2"},
};

// A layer that every Wan transformer has and that each layout calls differently.
constexpr LayerNames kTelltale = {"condition_embedder.time_proj.weight",
                                  "condition_embedder.time_modulation.linear.weight",
                                  "time_projection.1.weight"};

std::string_view in_layout(const LayerNames& names, WanKeyLayout layout) {
  return names[static_cast<size_t>(layout)];
}

/// The length of `blocks.N.` at the front of `name`; 0 when it does not begin so.
size_t block_prefix_length(std::string_view name) {
  if (!name.starts_with(kBlocks)) return 0;
  const size_t end = name.find_first_not_of("0123456789", kBlocks.size());
  const bool is_block = end != std::string_view::npos && end > kBlocks.size() && name[end] == '.';
  return is_block ? end + 1 : 0;
}

bool is_layer(std::string_view name, std::string_view layer) {
  return name.starts_with(layer) && (name.size() == layer.size() || name[layer.size()] == '.');
}

template <size_t N>
std::optional<std::string> rename_layer(std::string_view name, const LayerNames (&layers)[N],
                                        WanKeyLayout from, WanKeyLayout to) {
  const LayerNames* found = nullptr;  // the one with the longest name
  for (const LayerNames& layer : layers) {
    const std::string_view known = in_layout(layer, from);
    if (is_layer(name, known) &&
        (found == nullptr || known.size() > in_layout(*found, from).size()))
      found = &layer;
  }
  if (found == nullptr) return std::nullopt;
  return std::string(in_layout(*found, to)).append(name.substr(in_layout(*found, from).size()));
}

}  // namespace

std::string WanKeyFormat::describe() const {
  const std::array<std::string, 3> layouts = {"Diffusers", "FastVideo", "original Wan"};
  const std::string& name = layouts.at(static_cast<size_t>(layout));
  if (prefix.empty()) return name;
  const std::string below = fmt::format("{} below {}", name, prefix);
  return *this == comfyui_key_format() ? fmt::format("ComfyUI ({})", below) : below;
}

WanKeyFormat comfyui_key_format() {
  return {WanKeyLayout::kOriginal, std::string(kComfyUiPrefix)};
}

std::optional<WanKeyFormat> detect_wan_key_format(const std::vector<std::string>& names) {
  for (const std::string_view name : names) {
    for (size_t layout = 0; layout < kTelltale.size(); ++layout) {
      const std::string_view telltale = kTelltale[layout];
      if (!name.ends_with(telltale)) continue;
      const std::string_view prefix = name.substr(0, name.size() - telltale.size());
      if (prefix.empty() || prefix.ends_with('.')) {
        return WanKeyFormat{static_cast<WanKeyLayout>(layout), std::string(prefix)};
      }
    }
  }
  return std::nullopt;
}

std::string rename_wan_key(const std::string& name, const WanKeyFormat& from,
                           const WanKeyFormat& to) {
  std::string_view rest = name;
  std::optional<std::string> renamed;
  if (rest.starts_with(from.prefix)) {
    rest.remove_prefix(from.prefix.size());
    const size_t block = block_prefix_length(rest);
    renamed = block > 0 ? rename_layer(rest.substr(block), kBlockLayers, from.layout, to.layout)
                        : rename_layer(rest, kOuterLayers, from.layout, to.layout);
    rest = rest.substr(0, block);
  }
  if (!renamed) {
    fail<CheckpointError>("{}: must be a tensor of a Wan transformer in the layout '{}'", name,
                          from.describe());
  }
  return to.prefix + std::string(rest) + *renamed;
}

std::string to_fastvideo_name(const std::string& diffusers_name) {
  return rename_wan_key(diffusers_name, {WanKeyLayout::kDiffusers, ""},
                        {WanKeyLayout::kFastVideo, ""});
}

std::string from_fastvideo_name(const std::string& fastvideo_name) {
  return rename_wan_key(fastvideo_name, {WanKeyLayout::kFastVideo, ""},
                        {WanKeyLayout::kDiffusers, ""});
}

NamedTensors load_wan_weights(const std::filesystem::path& folder_or_file,
                              const std::vector<TensorSpec>& specs,
                              const std::vector<TensorSpec>& unused) {
  const WeightFolder weights(folder_or_file);
  const WanKeyFormat ours;
  const WanKeyFormat theirs = detect_wan_key_format(weights.names()).value_or(ours);
  std::vector<TensorSpec> wanted = specs;
  for (TensorSpec& spec : wanted) {
    spec.name = rename_wan_key(spec.name, ours, theirs);
    // Game networks come with either name.
    if (spec.name.starts_with(kGamePatches) && !weights.contains(spec.name))
      spec.name.replace(0, kGamePatches.size(), kPatches);
  }
  std::vector<std::string> ignored;
  ignored.reserve(unused.size());
  for (const TensorSpec& spec : unused) ignored.push_back(spec.name);
  NamedTensors tensors = weights.load_strict(wanted, ignored);
  for (size_t i = 0; i < specs.size(); ++i) tensors[i].first = specs[i].name;
  return tensors;
}

}  // namespace zoetrope
