#include "zoetrope/networks/wan_transformer/wan_transformer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/distributed/sequence_gradients.h"
#include "zoetrope/networks/wan_transformer/block_node.h"
#include "zoetrope/networks/wan_transformer/plain_layers.h"

namespace zoetrope {
namespace {

/// `width` is 0 for a network that takes no such tokens.
void check_tokens(const at::Tensor& tokens, int64_t batch, int64_t width, const char* name) {
  if (width == 0) {
    TORCH_CHECK(!tokens.defined(), "WanTransformer: ", name,
                " tokens must be undefined for this network");
    return;
  }
  TORCH_CHECK(
      tokens.defined() && tokens.dim() == 3 && tokens.size(0) == batch && tokens.size(2) == width,
      "WanTransformer: ", name, " must be [", batch, ", L, ", width, "], but got ",
      tokens.defined() ? tokens.sizes() : at::IntArrayRef());
}

}  // namespace

WanTransformer::WanTransformer(WanTransformerConfig config, ParameterStore::Options options,
                               GroupPointer tensor_group)
    : config_(std::move(config)),
      tensor_group_(std::move(tensor_group)),
      parameters_(wan_transformer_parameter_specs(config_, num_ranks(tensor_group_)), options) {
  if (num_ranks(tensor_group_) > 1)
    parameters_.declare_parts(wan_transformer_parameter_specs(config_), tensor_group_->index());
  build_blocks();
}

LoraAdapters& WanTransformer::add_adapters(const LoraOptions& options) {
  if (adapters_) fail("WanTransformer: adapters must be added once, but there are some already");
  if (parameters_.trainable())
    fail("WanTransformer: a network with adapters must be frozen itself, but is trainable");
  adapters_ = std::make_unique<LoraAdapters>(parameters_, options);
  build_blocks();
  return *adapters_;
}

void WanTransformer::build_blocks() {
  output_projection_ = linear_parameters(parameters_, adapters_.get(), "proj_out");
  fused_blocks_.clear();  // they refer to the blocks
  blocks_.clear();
  for (int64_t i = 0; i < config_.num_layers; ++i)
    blocks_.emplace_back(parameters_, adapters_.get(), config_, i);
  if (num_ranks(tensor_group_) > 1 || !fused_block_supported(config_, parameters_.options()))
    return;
  for (size_t i = 0; i < blocks_.size(); ++i)
    fused_blocks_.emplace_back(blocks_[i], config_, parameters_.groups()[i]);
}

void WanTransformer::set_sequence_group(GroupPointer group) {
  check_parallel_ranks(config_, num_ranks(group), num_ranks(tensor_group_));
  sequence_group_ = std::move(group);
}

at::Tensor WanTransformer::forward(const WanTransformerInputs& inputs) {
  check_inputs(inputs);
  const size_t root = blocks_.size();
  ParameterResidency& residency = parameters_.residency();
  const bool differentiable = at::GradMode::is_enabled();
  if (differentiable) {
    residency.hold(root);
  } else {
    residency.gather(root, std::nullopt);
  }
  at::Tensor velocity = run(inputs);
  if (!differentiable) residency.release(root);
  return velocity;
}

at::Tensor WanTransformer::run(const WanTransformerInputs& inputs) {
  const at::Tensor& hidden = inputs.hidden_BCTHW;
  const TokenGrid grid{hidden.size(2) / config_.patch_size[0],
                       hidden.size(3) / config_.patch_size[1],
                       hidden.size(4) / config_.patch_size[2]};
  at::Tensor timestep_BM =
      inputs.timestep.dim() == 1 ? inputs.timestep.unsqueeze(1) : inputs.timestep;
  TORCH_CHECK(grid.num_tokens() % timestep_BM.size(1) == 0 &&
                  (timestep_BM.size(1) == 1 || timestep_BM.size(1) == grid.frames ||
                   timestep_BM.size(1) == grid.num_tokens()),
              "WanTransformer: timestep must be [B], [B, T = ", grid.frames,
              "] or [B, N = ", grid.num_tokens(), "], but got ", inputs.timestep.sizes());
  const bool teacher_forcing = inputs.clean_BCTHW.defined();
  at::Tensor patches_BNE = patches_of(hidden);
  if (teacher_forcing) {
    patches_BNE = at::cat({patches_of(inputs.clean_BCTHW), patches_BNE}, 1);
    timestep_BM = timestep_BM.expand({-1, grid.frames});
    timestep_BM = at::cat({at::zeros_like(timestep_BM), timestep_BM}, 1);
  }
  const TimeEmbedding time = embed_timesteps(parameters_, config_, timestep_BM, observer_);
  BlockContext context;
  context.sequence = SequenceShard(sequence_group_, patches_BNE.size(1));
  context.tensor_group = tensor_group_;
  const SequenceShard& sequence = context.sequence;
  if (config_.has_plain_cross_attention()) embed_text_once(inputs, context);
  if (config_.has_image_branch())
    context.image_BLD = embed_image(parameters_, inputs.image_BLE, observer_);
  context.modulation_BM6D = sequence.own_rows(time.modulation_BM6D);
  const RotaryTables rotary = token_rotation(inputs, grid);
  context.rotary = {sequence.own_tokens(rotary.cos), sequence.own_tokens(rotary.sin)};
  context.regions = inputs.regions;
  context.streaming = inputs.streaming;
  context.actions = action_context(inputs, grid);
  context.residency = &parameters_.residency();
  const at::Tensor tokens_BND =
      run_blocks(embed_patches(split_tokens(sequence, patches_BNE)), context);
  const at::Tensor predicted_BNE =
      gather_tokens(sequence, output_head(tokens_BND, sequence.own_rows(time.embedding_BMD)),
                    GatheredGradient::kSame);
  const int64_t num_clean = teacher_forcing ? grid.num_tokens() : 0;
  return latents_of(predicted_BNE.narrow(1, num_clean, grid.num_tokens()), grid);
}

void WanTransformer::check_inputs(const WanTransformerInputs& inputs) const {
  const at::Tensor& hidden = inputs.hidden_BCTHW;
  TORCH_CHECK(hidden.dim() == 5 && hidden.size(1) == config_.in_channels,
              "WanTransformer: hidden must be [B, ", config_.in_channels, ", T, H, W], but got ",
              hidden.sizes());
  for (int64_t axis = 0; axis < 3; ++axis) {
    const int64_t patch = config_.patch_size[static_cast<size_t>(axis)];
    TORCH_CHECK(hidden.size(2 + axis) >= patch && hidden.size(2 + axis) % patch == 0,
                "WanTransformer: latent frames, rows and columns must be multiples of the patch ",
                at::IntArrayRef(config_.patch_size), ", but got ", hidden.sizes());
  }
  const at::Tensor& clean = inputs.clean_BCTHW;
  TORCH_CHECK(!clean.defined() || clean.sizes() == hidden.sizes(),
              "WanTransformer: the clean clip must be of hidden's shape ", hidden.sizes(),
              ", but is ", clean.defined() ? clean.sizes() : at::IntArrayRef());
  TORCH_CHECK(!inputs.streaming || (!inputs.regions && !clean.defined()),
              "WanTransformer: a streaming pass has neither regions nor a clean clip");
  const int64_t batch = hidden.size(0);
  TORCH_CHECK(
      inputs.timestep.dim() >= 1 && inputs.timestep.dim() <= 2 && inputs.timestep.size(0) == batch,
      "WanTransformer: timestep must have batch ", batch, ", but got ", inputs.timestep.sizes());
  check_tokens(inputs.text_BLE, batch, config_.text_dim, "text");
  check_tokens(inputs.image_BLE, batch, config_.image_dim.value_or(0), "image");
  TORCH_CHECK(config_.action.has_value() || !inputs.actions.given(),
              "WanTransformer: actions must be undefined for this network");
}

at::Tensor WanTransformer::patches_of(const at::Tensor& hidden_BCTHW) const {
  const auto& [frames, rows, columns] = config_.patch_size;
  return hidden_BCTHW.to(parameters_.options().compute_dtype)
      .unflatten(4, {-1, columns})
      .unflatten(3, {-1, rows})
      .unflatten(2, {-1, frames})
      .permute({0, 2, 4, 6, 1, 3, 5, 7})
      .reshape({hidden_BCTHW.size(0), -1, config_.in_channels * config_.patch_elements()});
}

at::Tensor WanTransformer::embed_patches(const at::Tensor& patches_BNE) const {
  const std::string layer = patch_embedding_name(config_);
  const at::Tensor weight = parameters_.value(layer + ".weight").flatten(1);
  return observe("patch_embedding",
                 at::linear(patches_BNE, weight, parameters_.value(layer + ".bias")))
      .to(at::kFloat);
}

bool WanTransformer::uses_fused_blocks(const StreamingPass* streaming) const {
  return implementation_ == Implementation::kFastest && !fused_blocks_.empty() && !observer_ &&
         (streaming == nullptr || !streaming->rotates_keys());
}

void WanTransformer::embed_text_once(const WanTransformerInputs& inputs,
                                     BlockContext& context) const {
  const at::Tensor& text_BLE = config_.has_text() ? inputs.text_BLE : inputs.image_BLE;
  const bool merge_padding = uses_fused_blocks(inputs.streaming.get()) && !text_BLE.requires_grad();
  if (inputs.text_key_values == nullptr || at::GradMode::is_enabled())
    return embed_text_tokens(text_BLE, merge_padding, context);
  TextKeyValues& kept = *inputs.text_key_values;
  if (!kept.is_of(text_BLE, merge_padding)) {
    embed_text_tokens(text_BLE, merge_padding, context);
    kept = {text_BLE,         text_BLE._version(),     merge_padding,
            context.text_BLD, context.last_text_count, {}};
    kept.blocks.resize(blocks_.size());
  }
  context.text_BLD = kept.text_BLD;
  context.last_text_count = kept.last_text_count;
  context.text_key_values = &kept;
}

void WanTransformer::embed_text_tokens(const at::Tensor& text_BLE, bool merge_padding,
                                       BlockContext& context) const {
  if (!config_.has_text()) {
    context.text_BLD = embed_image(parameters_, text_BLE, observer_);
    return;
  }
  at::Tensor tokens = text_BLE;
  if (merge_padding) {
    // A prompt is padded with zeros to 512 tokens, which are all embedded alike and attended to:
    // one of them is computed and counted as often as it occurs.
    tokens = text_BLE.contiguous();
    const int64_t padding = count_padding_tokens(tokens);
    if (padding > 1) {
      context.last_text_count = padding;
      tokens = tokens.narrow(1, 0, tokens.size(1) - padding + 1);
    }
  }
  context.text_BLD = embed_text(parameters_, tokens, observer_);
}

std::shared_ptr<const ActionContext> WanTransformer::action_context(
    const WanTransformerInputs& inputs, const TokenGrid& grid) const {
  if (!inputs.actions.given()) return nullptr;
  ActionFrames frames{{}, grid.rows * grid.columns};
  const int64_t begin = inputs.streaming ? inputs.streaming->frames().begin : 0;
  for (int64_t frame = 0; frame < grid.frames; ++frame) frames.positions.push_back(begin + frame);
  if (inputs.clean_BCTHW.defined()) {
    const std::vector<int64_t> noisy = frames.positions;
    frames.positions.insert(frames.positions.end(), noisy.begin(), noisy.end());
  }
  const ParameterStore::Options& store = parameters_.options();
  return make_action_context(*config_.action, inputs.actions, frames, inputs.regions.get(),
                             at::TensorOptions().device(store.device).dtype(store.compute_dtype));
}

at::Tensor WanTransformer::run_blocks(at::Tensor hidden_BND, const BlockContext& context) {
  const bool recompute =
      checkpointing_ == Checkpointing::kFull && at::GradMode::is_enabled() && !observer_;
  const bool train_adapters = adapters_ != nullptr && at::GradMode::is_enabled();
  if (train_adapters) adapters_->expect_gradients();
  for (size_t i = 0; i < blocks_.size(); ++i) {
    // A block is a node of the graph only when one of its inputs needs a gradient, and those of a
    // frozen network do not: the graph begins before the first adapted block.
    if (train_adapters && !hidden_BND.requires_grad() && adapters_->adapts(blocks_[i].name))
      hidden_BND = hidden_BND.detach().set_requires_grad(true);
    context.residency->gather(i, i + 1 < blocks_.size() ? std::optional(i + 1) : std::nullopt);
    hidden_BND = run_block(i, hidden_BND, context, recompute);
    context.residency->release(i);
  }
  return hidden_BND;
}

at::Tensor WanTransformer::run_block(size_t index, const at::Tensor& hidden_BND,
                                     const BlockContext& context, bool recompute) {
  if (uses_fused_blocks(context.streaming.get()))
    return fused_block(fused_blocks_[index], hidden_BND, context, recompute);
  const BlockParameters& block = blocks_[index];
  // Autograd knows when an operation needs a parameter, but not when a block of them does.
  const bool is_node = recompute || context.residency->follows_backward();
  if (!at::GradMode::is_enabled())
    return transformer_block(block, config_, hidden_BND, context, observer_);
  parameters_.groups()[index].gradient_is_zero = false;  // autograd will add to it
  return is_node ? block_node(block, config_, hidden_BND, context, recompute)
                 : transformer_block(block, config_, hidden_BND, context, observer_);
}

at::Tensor WanTransformer::output_head(const at::Tensor& hidden_BND,
                                       const at::Tensor& time_BMD) const {
  const at::Tensor modulation = parameters_.value("scale_shift_table").to(at::kFloat).unsqueeze(0) +
                                time_BMD.to(at::kFloat).unsqueeze(2);
  const std::vector<at::Tensor> shift_scale = modulation.unbind(2);
  const at::Tensor normed =
      observe("norm_out", modulated_layer_norm(hidden_BND, shift_scale[0], shift_scale[1],
                                               config_.eps, parameters_.options().compute_dtype));
  return observe("proj_out", linear(output_projection_, normed));
}

at::Tensor WanTransformer::latents_of(const at::Tensor& patches_BNE, const TokenGrid& grid) const {
  const auto& [frames, rows, columns] = config_.patch_size;
  return patches_BNE.unflatten(1, {grid.frames, grid.rows, grid.columns})
      .unflatten(4, {frames, rows, columns, config_.out_channels})
      .permute({0, 7, 1, 4, 2, 5, 3, 6})
      .reshape({-1, config_.out_channels, grid.frames * frames, grid.rows * rows,
                grid.columns * columns});
}

RotaryTables WanTransformer::token_rotation(const WanTransformerInputs& inputs, TokenGrid grid) {
  if (inputs.streaming) {
    if (inputs.streaming->rotates_keys()) {
      TokenGrid window = grid;
      window.frames = inputs.streaming->num_visible_frames();
      inputs.streaming->set_key_rotation(rotary_tables(window));
    }
    grid.start_frame = inputs.streaming->first_position();
  }
  const RotaryTables& tables = rotary_tables(grid);
  if (!inputs.clean_BCTHW.defined()) return tables;
  return {at::cat({tables.cos, tables.cos}), at::cat({tables.sin, tables.sin})};
}

const RotaryTables& WanTransformer::rotary_tables(const TokenGrid& grid) {
  if (rotary_grid_ != grid) {
    rotary_ = make_rotary_tables(config_, grid, parameters_.options().device);
    rotary_grid_ = grid;
  }
  return rotary_;
}

at::Tensor WanTransformer::observe(const char* name, const at::Tensor& value) const {
  if (observer_) observer_(name, value);
  return value;
}

}  // namespace zoetrope
