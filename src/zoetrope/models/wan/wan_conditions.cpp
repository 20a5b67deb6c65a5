#include "zoetrope/models/wan/wan_conditions.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/first_frame.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

/// The stacked column `name` [B, ...], which every sample must have with `num_dims` dimensions.
const at::Tensor& required_column(const Batch& raw, const std::string& name, int64_t num_dims) {
  const auto found = raw.others.find(name);
  if (found == raw.others.end() || found->second.numel() == 0)
    fail<DataError>("{}: must have '{}', which the network takes, but it is empty",
                    raw.info.at(0).describe(), name);
  if (found->second.dim() != 1 + num_dims)
    fail<DataError>("{}: '{}' must have {} dimensions, but is {}", raw.info.at(0).describe(), name,
                    num_dims, format_shape(found->second[0].sizes()));
  return found->second;
}

/// The first sample with a value other than 0 in `values` [B, ...]; -1 when there is none.
int64_t first_not_zero(const at::Tensor& values) {
  for (int64_t i = 0; i < values.size(0); ++i) {
    if (values[i].count_nonzero().item<int64_t>() > 0) return i;
  }
  return -1;
}

at::Tensor read_image_embedding(const WanTransformerConfig& network, const Batch& raw) {
  const at::Tensor& tokens_BLE = required_column(raw, "clip_feature", 2);
  if (tokens_BLE.size(2) != *network.image_dim)
    fail<DataError>("{}: 'clip_feature' must be of width {} (image_dim), but is {}",
                    raw.info.at(0).describe(), *network.image_dim,
                    format_shape(tokens_BLE[0].sizes()));
  return tokens_BLE;
}

/// [B, T, mask and image channels, H, W]
at::Tensor read_image_latents(const WanTransformerConfig& network, const Batch& raw,
                              int64_t num_frames) {
  const at::Tensor& stored_BCTHW = required_column(raw, "first_frame_latent", 4);
  const int64_t num_channels = network.in_channels - network.out_channels;
  const bool with_mask = stored_BCTHW.size(1) == num_channels;
  if (!with_mask && stored_BCTHW.size(1) != network.out_channels) {
    fail<DataError>("{}: 'first_frame_latent' must have {} channels, or {} with a mask, but is {}",
                    raw.info.at(0).describe(), network.out_channels, num_channels,
                    format_shape(stored_BCTHW[0].sizes()));
  }
  const int64_t num_stored = std::min(stored_BCTHW.size(2), num_frames);
  const at::Tensor image_BTCHW =
      at::constant_pad_nd(stored_BCTHW.narrow(2, 0, num_stored).transpose(1, 2),
                          {0, 0, 0, 0, 0, 0, 0, num_frames - num_stored});
  return with_mask ? image_BTCHW : with_first_frame_mask(image_BTCHW);
}

/// [B, F, width]
at::Tensor read_actions(const Batch& raw, const std::string& name, int64_t width,
                        int64_t num_rows) {
  const at::Tensor& stored_BFW = required_column(raw, name, 2);
  const std::string shape = format_shape(stored_BFW[0].sizes());
  if (stored_BFW.size(1) < num_rows) {
    fail<DataError>("{}: '{}' must have a row for each of {} pixel frames, but is {}",
                    raw.info.at(0).describe(), name, num_rows, shape);
  }
  if (stored_BFW.size(2) < width) {
    fail<DataError>("{}: '{}' must be of width {} as in the network's action_config, but is {}",
                    raw.info.at(0).describe(), name, width, shape);
  }
  const int64_t sample = first_not_zero(stored_BFW.narrow(2, width, stored_BFW.size(2) - width));
  if (sample >= 0) {
    fail<DataError>(
        "{}: '{}' is {}, but the network takes the first {} columns, so the others must be zero",
        raw.info.at(static_cast<size_t>(sample)).describe(), name, shape, width);
  }
  return stored_BFW.narrow(1, 0, num_rows).narrow(2, 0, width);
}

}  // namespace

Conditioning read_conditions(const WanTransformerConfig& network, const Batch& raw,
                             const ConditionOptions& options) {
  const auto move = [&](const at::Tensor& tensor) {
    return tensor.to(options.device, options.dtype, /*non_blocking=*/true);
  };
  Conditioning conditions;
  if (network.has_text()) {
    conditions.text_embedding_BLD = move(raw.text_embedding_BLD);
    conditions.text_attention_mask_BL =
        raw.text_attention_mask_BL.to(options.device, /*non_blocking=*/true);
  }
  if (network.image_dim) {
    conditions.image_embedding_BLD = move(read_image_embedding(network, raw));
    conditions.image_latents_BTCHW =
        move(read_image_latents(network, raw, options.num_latent_frames));
  }
  if (network.action) {
    const ActionConfig& action = *network.action;
    const int64_t num_rows =
        action.vae_time_compression_ratio * (options.num_latent_frames - 1) + 1;
    if (action.enable_keyboard)
      conditions.keyboard_BFK =
          move(read_actions(raw, "keyboard_cond", action.keyboard_dim_in, num_rows));
    if (action.enable_mouse)
      conditions.mouse_BF2 = move(read_actions(raw, "mouse_cond", action.mouse_dim_in, num_rows));
  }
  return conditions;
}

}  // namespace zoetrope
