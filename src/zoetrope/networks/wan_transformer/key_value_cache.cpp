#include "zoetrope/networks/wan_transformer/key_value_cache.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/wan_transformer/plain_layers.h"

namespace zoetrope {
namespace {

bool overlap(const std::vector<IndexRange>& a, const std::vector<IndexRange>& b) {
  for (const IndexRange& x : a) {
    for (const IndexRange& y : b) {
      if (x.begin < y.end && y.begin < x.end) return true;
    }
  }
  return false;
}

constexpr std::string_view kTextKeys = "keys.";
constexpr std::string_view kTextValues = "values.";

/// The ranks' x [..., w] side by side in the last dimension.
at::Tensor gather_last(const GroupPointer& group, const at::Tensor& x) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() *= num_ranks(group);
  return whole_of(group, x, shape);
}

at::Tensor own_of_last(const GroupPointer& group, const at::Tensor& all) {
  std::vector<int64_t> shape = all.sizes().vec();
  shape.back() /= num_ranks(group);
  return part_of(group, all, shape);
}

void copy_stored(const at::Tensor& stored, const at::Tensor& destination) {
  if (stored.sizes() != destination.sizes()) {
    fail<CheckpointError>(
        "streaming cache: a stored layer must have shape {}, but has {}; it is of another network",
        format_shape(destination.sizes()), format_shape(stored.sizes()));
  }
  destination.copy_(stored);
}

}  // namespace

KeyValueCache::KeyValueCache(std::string name, const WanTransformerConfig& config,
                             const CausalAttention& attention, int64_t max_frames,
                             GroupPointer sequence_group, GroupPointer tensor_group)
    : name_(std::move(name)),
      config_(config),
      attention_(attention),
      capacity_(attention.local_attn_size.value_or(max_frames)),
      sequence_group_(std::move(sequence_group)),
      tensor_group_(std::move(tensor_group)) {
  attention_.check();
  if (capacity_ < 1)
    fail(
        "{}: must have room for at least 1 frame, but local_attn_size is unbounded and the number "
        "of frames is {}",
        name_, max_frames);
  if (!attention_.local_attn_size) attention_.sink_size = 0;  // nothing ever leaves the window
}

void KeyValueCache::clear() {
  text_ = {};
  end_frame_ = 0;
  in_use_ = false;
  in_pass_ = false;
}

CachedBlock KeyValueCache::held(int64_t layer) const {
  if (end_frame_ == 0) return {};
  const CacheLayout layout{capacity_, attention_.sink_size};
  const CachedBlock& cached = layers_[static_cast<size_t>(layer)];
  const int64_t keys_per_frame = cached.keys.size(1) / capacity_;
  std::vector<IndexRange> keys;
  for (const IndexRange& frames : visible_frames(attention_, end_frame_)) {
    for (const IndexRange& slots : layout.slots(frames))
      keys.push_back({slots.begin * keys_per_frame, slots.end * keys_per_frame});
  }
  return {select_ranges(cached.keys, keys), select_ranges(cached.values, keys)};
}

std::vector<KeyValueCache::LayerWidth> KeyValueCache::layer_widths(const CacheClip& clip) const {
  const int64_t tokens = clip.rows * clip.columns;
  const auto num_blocks = static_cast<size_t>(config_.num_layers);
  std::vector<LayerWidth> layers(
      num_blocks,
      {tokens, config_.width() / (num_ranks(sequence_group_) * num_ranks(tensor_group_))});
  if (!config_.action) return layers;
  const ActionConfig& action = *config_.action;
  layers.resize(3 * num_blocks);
  for (size_t i = 0; i < num_blocks; ++i) {
    if (!config_.has_action_module(static_cast<int64_t>(i))) continue;
    if (action.enable_mouse) layers[num_blocks + i] = {tokens, action.mouse_hidden_dim};
    if (action.enable_keyboard) layers[2 * num_blocks + i] = {1, action.keyboard_hidden_dim};
  }
  return layers;
}

int64_t KeyValueCache::bytes_per_frame(const CacheClip& clip, at::ScalarType dtype) const {
  int64_t elements = 0;
  for (const LayerWidth& layer : layer_widths(clip)) elements += layer.keys_per_frame * layer.width;
  return 2 * clip.batch * elements * static_cast<int64_t>(c10::elementSize(dtype));
}

void KeyValueCache::check_clip(const CacheClip& clip) const {
  if (in_pass_) fail("{}: the pass before must have ended, but it failed; clear the cache", name_);
  if (!in_use_ || clip == clip_) return;
  fail(
      "{}: was made for batch {} of {} x {} tokens per frame and must be cleared before another "
      "clip, but got batch {} of {} x {} tokens",
      name_, clip_.batch, clip_.rows, clip_.columns, clip.batch, clip.rows, clip.columns);
}

void KeyValueCache::check_frames(const IndexRange& frames) const {
  if (frames.begin < 0 || frames.size() < 1)
    fail("{}: frames must be at or after 0, at least one, but are [{}, {})", name_, frames.begin,
         frames.end);
  if (frames.begin > end_frame_)
    fail("{}: holds frames up to {}, so the next ones must start there or before, but start at {}",
         name_, end_frame_, frames.begin);
  const bool moves = frames.end > capacity_;
  if (moves && !attention_.local_attn_size) {
    fail(
        "{}: has room for {} frames because local_attn_size is unbounded, but frame {} was asked "
        "for; set local_attn_size for longer rollouts",
        name_, capacity_, frames.end - 1);
  }
  const int64_t window = capacity_ - attention_.sink_size;
  if (moves && frames.size() > window) {
    fail("{}: a chunk must fit into the {} frames of the window beside {} sinks, but has {} frames",
         name_, window, attention_.sink_size, frames.size());
  }
  if (end_frame_ > capacity_ && frames.end < end_frame_) {
    fail(
        "{}: frames before {} have left the window of {} frames, so a pass must reach frame {}, "
        "but "
        "ends before {}; clear the cache to start again",
        name_, end_frame_ - window, capacity_, end_frame_ - 1, frames.end);
  }
}

void KeyValueCache::allocate(const CacheClip& clip, const at::TensorOptions& options) {
  clip_ = clip;
  in_use_ = true;
  const std::vector<LayerWidth> widths = layer_widths(clip);
  const auto shape_of = [&](const LayerWidth& layer) {
    return std::vector<int64_t>{clip.batch, capacity_ * layer.keys_per_frame, layer.width};
  };
  // One copy for all passes over the last clip, where each would have to keep its own.
  if (has_readers()) layers_.clear();
  readers_.clear();
  const bool fits =
      !layers_.empty() && layers_[0].keys.sizes() == at::IntArrayRef(shape_of(widths[0])) &&
      layers_[0].keys.options().type_equal(options) && layers_[0].keys.device() == options.device();
  if (fits) return;
  layers_.clear();
  for (const LayerWidth& layer : widths) {
    layers_.emplace_back();
    if (layer.width == 0) continue;
    layers_.back() = {at::empty(shape_of(layer), options), at::empty(shape_of(layer), options)};
  }
}

bool KeyValueCache::holds(int64_t slot) const {
  return slot < std::min(end_frame_, capacity_);
}

bool KeyValueCache::has_readers() {
  std::erase_if(readers_, [](const auto& reader) { return reader.expired(); });
  return !readers_.empty();
}

void KeyValueCache::protect_readers(const std::vector<IndexRange>& slots) {
  if (!has_readers()) return;
  for (const auto& weak : readers_) {
    const std::shared_ptr<StreamingPass> reader = weak.lock();
    if (reader && overlap(reader->context_slots(), slots)) reader->keep_context();
  }
}

std::shared_ptr<StreamingPass> KeyValueCache::begin_pass(const CacheClip& clip,
                                                         const IndexRange& frames,
                                                         StreamingMode mode,
                                                         const at::TensorOptions& options) {
  check_clip(clip);
  check_frames(frames);
  if (!in_use_) allocate(clip, options);
  StreamingPass::Options pass_options{.mode = mode,
                                      .frames = frames,
                                      .overwrites = false,
                                      .layout = {capacity_, attention_.sink_size},
                                      .rotary_policy = attention_.rotary_policy,
                                      .num_blocks = config_.num_layers};
  const std::vector<IndexRange> slots = pass_options.layout.slots(frames);
  for (const IndexRange& range : slots)
    pass_options.overwrites = pass_options.overwrites || holds(range.begin);
  auto pass = std::make_shared<StreamingPass>(pass_options, layers_);
  const bool puts_back = mode == StreamingMode::kRead && pass_options.overwrites;
  if (mode != StreamingMode::kDifferentiable && !puts_back) protect_readers(slots);
  if (mode == StreamingMode::kDifferentiable) readers_.push_back(pass);
  in_pass_ = true;
  return pass;
}

void KeyValueCache::end_pass(const StreamingPass& pass) {
  in_pass_ = false;
  if (pass.mode() == StreamingMode::kStore) end_frame_ = pass.frames().end;
}

CachedBlock KeyValueCache::filled_slots(const CachedBlock& layer) const {
  const int64_t keys_per_frame = layer.keys.size(1) / capacity_;
  const int64_t num_keys = std::min(end_frame_, capacity_) * keys_per_frame;
  return {layer.keys.narrow(1, 0, num_keys), layer.values.narrow(1, 0, num_keys)};
}

bool KeyValueCache::is_shared(size_t index) const {
  // Action modules are computed with all heads on every rank.
  return index < static_cast<size_t>(config_.num_layers);
}

// Tensor-parallel ranks split the heads, sequence-parallel ranks those that are left.
at::Tensor KeyValueCache::with_all_heads(size_t index, const at::Tensor& own_BLw) const {
  if (!is_shared(index)) return own_BLw;
  return gather_last(tensor_group_, gather_last(sequence_group_, own_BLw));
}

at::Tensor KeyValueCache::own_heads(size_t index, const at::Tensor& all_BLD) const {
  if (!is_shared(index)) return all_BLD;
  return own_of_last(sequence_group_, own_of_last(tensor_group_, all_BLD));
}

StateDict KeyValueCache::text_state() const {
  StateDict state = text_.state_dict();
  for (auto& [name, tensor] : state.tensors) {
    if (name.starts_with(kTextKeys) || name.starts_with(kTextValues))
      tensor = gather_last(tensor_group_, tensor);
  }
  return state;
}

void KeyValueCache::load_text_state(const StateDict& state, const at::Tensor& text_BLE,
                                    at::Device device) {
  StateDict own = state;
  for (auto& [name, tensor] : own.tensors) {
    if (name.starts_with(kTextKeys) || name.starts_with(kTextValues))
      tensor = own_of_last(tensor_group_, tensor);
  }
  text_.load_state_dict(own, text_BLE, static_cast<size_t>(config_.num_layers), device);
}

StateDict KeyValueCache::state_dict() const {
  StateDict state;
  if (!in_use_ || end_frame_ == 0) return state;
  state.scalars = {{"batch", clip_.batch},     {"rows", clip_.rows},
                   {"columns", clip_.columns}, {"end_frame", end_frame_},
                   {"capacity", capacity_},    {"sink_size", attention_.sink_size}};
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!layers_[i].keys.defined()) continue;  // a block without this layer
    const CachedBlock filled = filled_slots(layers_[i]);
    state.tensors.emplace_back(fmt::format("keys.{}", i),
                               copy_for_checkpoint(with_all_heads(i, filled.keys)));
    state.tensors.emplace_back(fmt::format("values.{}", i),
                               copy_for_checkpoint(with_all_heads(i, filled.values)));
  }
  if (text_.source_BLE.defined()) state.add("text.", text_state());
  return state;
}

void KeyValueCache::load_state_dict(const StateDict& state, const at::Tensor& text_BLE,
                                    const at::TensorOptions& options) {
  clear();
  if (state.empty()) return;
  if (state.scalar<int64_t>("capacity") != capacity_ ||
      state.scalar<int64_t>("sink_size") != attention_.sink_size) {
    fail<CheckpointError>(
        "{}: the stored one must have the same window, but has {} frames with {} sinks instead of "
        "{} with {}",
        name_, state.scalar<int64_t>("capacity"), state.scalar<int64_t>("sink_size"), capacity_,
        attention_.sink_size);
  }
  allocate({state.scalar<int64_t>("batch"), state.scalar<int64_t>("rows"),
            state.scalar<int64_t>("columns")},
           options);
  end_frame_ = state.scalar<int64_t>("end_frame");
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!layers_[i].keys.defined()) continue;  // a block without this layer
    const CachedBlock filled = filled_slots(layers_[i]);
    copy_stored(own_heads(i, state.tensor(fmt::format("keys.{}", i))), filled.keys);
    copy_stored(own_heads(i, state.tensor(fmt::format("values.{}", i))), filled.values);
  }
  const StateDict text = state.part("text.");
  if (!text.empty()) load_text_state(text, text_BLE, options.device());
}

}  // namespace zoetrope
