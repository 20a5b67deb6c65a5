#include "zoetrope/networks/wan_transformer/streaming_pass.h"

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>

namespace zoetrope {
namespace {

/// Places of `frames` when sorted.
std::vector<int64_t> ranks_of(const std::vector<int64_t>& frames) {
  std::vector<int64_t> sorted = frames;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int64_t> ranks;
  ranks.reserve(frames.size());
  for (const int64_t frame : frames)
    ranks.push_back(std::lower_bound(sorted.begin(), sorted.end(), frame) - sorted.begin());
  return ranks;
}

}  // namespace

std::vector<IndexRange> CacheLayout::slots(const IndexRange& frames) const {
  std::vector<IndexRange> ranges;
  for (int64_t frame = frames.begin; frame < frames.end; ++frame) {
    const int64_t next = slot(frame);
    if (!ranges.empty() && ranges.back().end == next) {
      ++ranges.back().end;
    } else {
      ranges.push_back({next, next + 1});
    }
  }
  return ranges;
}

StreamingPass::StreamingPass(const Options& options, std::vector<CachedBlock> layers)
    : options_(options),
      layers_(std::move(layers)),
      own_slots_(options.layout.slots(options.frames)) {
  const CacheLayout& layout = options_.layout;
  const int64_t end = options_.frames.end;
  const int64_t num_visible = std::min(end, layout.capacity);
  std::vector<int64_t> frame_in_slot(static_cast<size_t>(num_visible));
  const int64_t first_moving =
      std::max(layout.sink_size, end - (layout.capacity - layout.sink_size));
  for (int64_t frame = 0; frame < end; ++frame) {
    if (frame < layout.sink_size || frame >= first_moving)
      frame_in_slot[static_cast<size_t>(layout.slot(frame))] = frame;
  }
  if (options_.mode != StreamingMode::kDifferentiable) {
    key_frames_ = frame_in_slot;
    return;
  }
  for (int64_t slot = 0; slot < num_visible; ++slot) {
    const int64_t frame = frame_in_slot[static_cast<size_t>(slot)];
    if (frame >= options_.frames.begin) continue;
    key_frames_.push_back(frame);
    if (!context_slots_.empty() && context_slots_.back().end == slot) {
      ++context_slots_.back().end;
    } else {
      context_slots_.push_back({slot, slot + 1});
    }
  }
  for (int64_t frame = options_.frames.begin; frame < end; ++frame) key_frames_.push_back(frame);
}

int64_t StreamingPass::first_position() const {
  return rotates_keys() ? num_visible_frames() - options_.frames.size() : options_.frames.begin;
}

void StreamingPass::set_key_rotation(const RotaryTables& tables) {
  const at::Tensor order = at::tensor(ranks_of(key_frames_)).to(tables.cos.device());
  const auto ordered = [&](const at::Tensor& table) {
    return table.unflatten(0, {num_visible_frames(), -1}).index_select(0, order).flatten(0, 1);
  };
  key_rotation_ = {ordered(tables.cos), ordered(tables.sin)};
}

VisibleKeys StreamingPass::extend(int64_t layer, const at::Tensor& keys_BND,
                                  const at::Tensor& values_BND) {
  const CachedBlock& cached = layers_[static_cast<size_t>(layer)];
  VisibleKeys visible;
  if (options_.mode == StreamingMode::kDifferentiable) {
    const CachedBlock kept = kept_.empty() ? CachedBlock() : kept_[static_cast<size_t>(layer)];
    visible = {with_context(cached.keys, kept.keys, keys_BND),
               with_context(cached.values, kept.values, values_BND)};
  } else {
    if (options_.mode == StreamingMode::kRead && options_.overwrites)
      put_back_ = {read_own(cached.keys), read_own(cached.values)};
    write(cached.keys, keys_BND);
    write(cached.values, values_BND);
    const IndexRange all{0, num_visible_frames()};
    visible = {slots_of(cached.keys, all), slots_of(cached.values, all)};
  }
  if (rotates_keys() && layer < options_.num_blocks) visible.keys = rotate(visible.keys);
  return visible;
}

void StreamingPass::finish(int64_t layer) {
  if (!put_back_.keys.defined()) return;
  write(layers_[static_cast<size_t>(layer)].keys, put_back_.keys);
  write(layers_[static_cast<size_t>(layer)].values, put_back_.values);
  put_back_ = {};
}

void StreamingPass::keep_context() {
  if (!kept_.empty() || context_slots_.empty()) return;
  for (const CachedBlock& layer : layers_) {
    const bool cached = layer.keys.defined();
    kept_.push_back(cached ? CachedBlock{context(layer.keys).clone(), context(layer.values).clone()}
                           : CachedBlock());
  }
}

at::Tensor StreamingPass::slots_of(const at::Tensor& cached, const IndexRange& slots) const {
  const int64_t keys_per_frame = cached.size(1) / options_.layout.capacity;
  return cached.narrow(1, slots.begin * keys_per_frame, slots.size() * keys_per_frame);
}

void StreamingPass::write(const at::Tensor& cached, const at::Tensor& chunk_BND) const {
  int64_t written = 0;
  for (const IndexRange& slots : own_slots_) {
    const at::Tensor target = slots_of(cached, slots);
    target.copy_(chunk_BND.narrow(1, written, target.size(1)));
    written += target.size(1);
  }
}

at::Tensor StreamingPass::read_own(const at::Tensor& cached) const {
  std::vector<at::Tensor> parts;
  for (const IndexRange& slots : own_slots_) parts.push_back(slots_of(cached, slots));
  return at::cat(parts, 1);
}

at::Tensor StreamingPass::context(const at::Tensor& cached) const {
  std::vector<at::Tensor> parts;
  for (const IndexRange& slots : context_slots_) parts.push_back(slots_of(cached, slots));
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

at::Tensor StreamingPass::with_context(const at::Tensor& cached, const at::Tensor& kept,
                                       const at::Tensor& chunk_BND) const {
  if (context_slots_.empty()) return chunk_BND;
  return at::cat({kept.defined() ? kept : context(cached), chunk_BND}, 1);
}

at::Tensor StreamingPass::rotate(const at::Tensor& keys_BLD) const {
  const int64_t head_dim = 2 * key_rotation_.cos.size(1);
  return apply_rotary(keys_BLD.unflatten(2, {-1, head_dim}), key_rotation_).flatten(2);
}

}  // namespace zoetrope
