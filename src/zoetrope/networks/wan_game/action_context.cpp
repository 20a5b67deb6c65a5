#include "zoetrope/networks/wan_game/action_context.h"

#include <algorithm>
#include <tuple>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

/// The rows of all windows of a pass, one window after the other, counted from `first_row`.
std::vector<int64_t> window_rows(const ActionConfig& config, const std::vector<int64_t>& frames,
                                 int64_t first_row) {
  std::vector<int64_t> rows;
  for (const int64_t frame : frames) {
    const int64_t first = config.vae_time_compression_ratio * (frame - config.windows_size);
    for (int64_t i = 0; i < config.window_rows(); ++i)
      rows.push_back(std::max(first + i, int64_t{0}) - first_row);
  }
  return rows;
}

/// The part of `rows_BFW` that `rows` lie in, and `rows` counted from its begin.
std::pair<at::Tensor, at::Tensor> needed_rows(const at::Tensor& rows_BFW,
                                              const std::vector<int64_t>& rows,
                                              const at::TensorOptions& options) {
  const auto [first, last] = std::minmax_element(rows.begin(), rows.end());
  const at::Tensor part = rows_BFW.narrow(1, *first, *last - *first + 1).to(options);
  const at::Tensor places = at::tensor(rows).sub_(*first).to(options.device(), at::kLong);
  return {part, places};
}

void check_rows(const at::Tensor& rows, const char* name, int64_t width, int64_t last_row) {
  if (!rows.defined() || rows.dim() != 3 || rows.size(2) != width) {
    fail("action module: the {} must be [B, F, {}], but is {}", name, width,
         rows.defined() ? format_shape(rows.sizes()) : "missing");
  }
  if (rows.size(1) <= last_row) {
    fail("action module: the {} must have at least {} rows, one for each pixel frame, but has {}",
         name, last_row + 1, rows.size(1));
  }
}

/// Positions in time rotate the first channels of a head; those in space are 0 and rotate nothing.
RotaryTables frame_rotation(const ActionConfig& config, const std::vector<int64_t>& frames,
                            at::Device device) {
  const auto& [time, rows, columns] = config.mouse_qk_dim_list;
  const at::Tensor exponents = at::arange(0, time, 2, at::kDouble) / static_cast<double>(time);
  const at::Tensor frequencies =
      at::pow(at::scalar_tensor(config.rope_theta, at::kDouble), exponents).reciprocal();
  const at::Tensor angles = at::constant_pad_nd(
      at::outer(at::tensor(frames).to(at::kDouble), frequencies), {0, (rows + columns) / 2});
  return {angles.cos().to(device, at::kFloat), angles.sin().to(device, at::kFloat)};
}

IndexRange in_frames(const IndexRange& tokens, int64_t tokens_per_frame) {
  return {tokens.begin / tokens_per_frame, tokens.end / tokens_per_frame};
}

}  // namespace

std::shared_ptr<const ActionContext> make_action_context(const ActionConfig& config,
                                                         const Actions& actions,
                                                         const ActionFrames& frames,
                                                         const AttentionRegions* regions,
                                                         const at::TensorOptions& options) {
  auto context = std::make_shared<ActionContext>();
  context->num_frames = static_cast<int64_t>(frames.positions.size());
  const std::vector<int64_t> rows = window_rows(config, frames.positions, actions.first_row);
  const auto [earliest, latest] = std::minmax_element(rows.begin(), rows.end());
  if (*earliest < 0) {
    fail("action module: the actions must begin with pixel frame {} or before, but do with {}",
         actions.first_row + *earliest, actions.first_row);
  }
  const int64_t last_row = *latest;
  if (config.enable_mouse) {
    check_rows(actions.mouse_BF2, "mouse", config.mouse_dim_in, last_row);
    const auto [mouse, places] = needed_rows(actions.mouse_BF2, rows, options);
    context->mouse_windows_BTE =
        mouse.index_select(1, places).unflatten(1, {context->num_frames, -1}).flatten(2);
  }
  if (config.enable_keyboard) {
    check_rows(actions.keyboard_BFK, "keyboard", config.keyboard_dim_in, last_row);
    std::tie(context->keyboard_BRK, context->keyboard_window_rows) =
        needed_rows(actions.keyboard_BFK, rows, options);
  }
  context->rotary = frame_rotation(config, frames.positions, options.device());
  if (config.enable_keyboard) {
    context->token_rotary = {context->rotary.cos.repeat_interleave(frames.tokens_per_frame, 0),
                             context->rotary.sin.repeat_interleave(frames.tokens_per_frame, 0)};
  }
  if (regions == nullptr) return context;
  for (const AttentionRegion& region : *regions) {
    AttentionRegion by_frames{region.queries, {}};
    for (const IndexRange& keys : region.keys)
      by_frames.keys.push_back(in_frames(keys, frames.tokens_per_frame));
    context->keyboard_regions.push_back(by_frames);
    by_frames.queries = in_frames(region.queries, frames.tokens_per_frame);
    context->mouse_regions.push_back(std::move(by_frames));
  }
  return context;
}

}  // namespace zoetrope
