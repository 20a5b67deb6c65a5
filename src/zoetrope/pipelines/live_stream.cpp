#include "zoetrope/pipelines/live_stream.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace zoetrope {
namespace {

/// `rows_1FK` with copies of `next_row` up to `num_rows`.
at::Tensor extended(const at::Tensor& rows_1FK, const at::Tensor& next_row, int64_t num_rows) {
  if (!next_row.defined()) return {};
  if (!rows_1FK.defined()) return next_row.expand({-1, num_rows, -1});
  return at::cat({rows_1FK, next_row.expand({-1, num_rows - rows_1FK.size(1), -1})}, 1);
}

at::Tensor without_first(const at::Tensor& rows_1FK, int64_t num_rows) {
  if (!rows_1FK.defined()) return {};
  return rows_1FK.narrow(1, num_rows, rows_1FK.size(1) - num_rows);
}

/// Frames [begin, end) of a clip that goes on as `given_1TCHW` ends.
at::Tensor continued(const at::Tensor& given_1TCHW, int64_t begin, int64_t end) {
  if (!given_1TCHW.defined()) return {};
  const at::Tensor frames = at::arange(begin, end, given_1TCHW.options().dtype(at::kLong))
                                .clamp_max(given_1TCHW.size(1) - 1);
  return given_1TCHW.index_select(1, frames);
}

}  // namespace

LiveStream::LiveStream(const StreamingNetwork& network, const WanVae& vae,
                       const LiveStreamOptions& options, const NamedNoise& noise)
    : vae_(vae),
      options_(options),
      stream_(network, options.sampling, noise),
      shape_BCTHW_(latent_shape(vae.config(), 1, 1, options.num_height, options.num_width)) {
  shape_BCTHW_[2] = network.num_frames_per_block;
  next_.size = network.num_frames_per_block;
}

void LiveStream::start(const GuidedConditioning& conditions) {
  clip_ = conditions;
  past_ = {};
  next_.index = 0;
  next_.first = 0;
  decoding_ = {};
  uncommitted_.reset();
  stream_.start_clip();
}

GuidedConditioning LiveStream::conditions_of_next(const BlockActions& actions) {
  const int64_t ratio = vae_.config().temporal_ratio();
  const int64_t end = next_.first + next_.size;
  const int64_t num_rows = ratio * (end - 1 - past_.first_frame) + 1;
  past_.keyboard_BFK = extended(past_.keyboard_BFK, actions.keyboard_11K, num_rows);
  past_.mouse_BF2 = extended(past_.mouse_BF2, actions.mouse_112, num_rows);

  GuidedConditioning conditions = clip_;
  Conditioning& conditional = conditions.conditional;
  conditional.image_latents_BTCHW =
      continued(clip_.conditional.image_latents_BTCHW, past_.first_frame, end);
  conditional.keyboard_BFK = past_.keyboard_BFK;
  conditional.mouse_BF2 = past_.mouse_BF2;
  conditional.first_frame = past_.first_frame;

  const int64_t keep_from = std::max<int64_t>(end - options_.num_past_frames, 0);
  const int64_t num_dropped = ratio * (keep_from - past_.first_frame);
  past_.keyboard_BFK = without_first(past_.keyboard_BFK, num_dropped);
  past_.mouse_BF2 = without_first(past_.mouse_BF2, num_dropped);
  past_.first_frame = keep_from;
  return conditions;
}

std::vector<media::Frame> LiveStream::next(const BlockActions& actions) {
  const c10::NoGradGuard no_gradients;
  commit();
  const GuidedRows guided(conditions_of_next(actions), options_.sampling.guidance_scale, 1);
  const at::Tensor clean_BCTHW = stream_.denoise(next_, guided, shape_BCTHW_);
  uncommitted_.emplace(Uncommitted{next_, guided, clean_BCTHW});
  ++next_.index;
  next_.first += next_.size;
  return to_frames(decode_next_to_bytes(vae_, clean_BCTHW, decoding_)[0]);
}

void LiveStream::commit() {
  if (!uncommitted_) return;
  stream_.commit(uncommitted_->block, uncommitted_->guided, uncommitted_->clean_BCTHW);
  uncommitted_.reset();
}

}  // namespace zoetrope
