#include "zoetrope/model_play_session.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/media/image.h"
#include "zoetrope/media/resize.h"
#include "zoetrope/networks/umt5/text_embedding.h"
#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/tensor/dtype.h"

namespace zoetrope {
namespace {

/// Pixel frames for which the VAE encodes the first picture and grey after it: as many as Wan's
/// clips have. Later latents stay as the last.
constexpr int64_t kGivenFrames = 81;

void check_inputs(const PlayModelOptions& options, const WanTransformerConfig& network) {
  const auto check = [](bool given, bool needed, const char* option, const char* what) {
    if (given == needed) return;
    fail<ConfigError>("{}: must be {} for a model that {} {}, but was {}", option,
                      needed ? "given" : "left out", needed ? "takes" : "takes no", what,
                      given ? "given" : "not");
  };
  check(!options.image.empty(), network.image_dim.has_value(), "--image", "picture");
  check(!options.prompt.empty(), network.has_text(), "--prompt", "text");
}

at::ScalarType network_dtype(const std::string& name) {
  const auto dtype = parse_dtype(name);
  if (!dtype || !c10::isFloatingType(*dtype))
    fail<ConfigError>("--dtype: must be fp32 or bf16, but got '{}'", name);
  return *dtype;
}

/// Sets the size of the frames, and fits the picture to it.
void set_size(const PlayModelOptions& options, const WanVaeConfig& vae, PlayPlan& plan) {
  const bool given = options.num_height > 0 && options.num_width > 0;
  if (!given && (options.num_height != 0 || options.num_width != 0 || !plan.picture))
    fail<ConfigError>(
        "--height and --width: must be given both, or for a model that takes a picture none, but "
        "are {} and {}",
        options.num_height, options.num_width);
  const int height = given ? options.num_height : plan.picture->height;
  const int width = given ? options.num_width : plan.picture->width;
  const int64_t row_unit = vae.spatial_ratio() * plan.network.patch_size[1];
  const int64_t column_unit = vae.spatial_ratio() * plan.network.patch_size[2];
  if (height % row_unit != 0 || width % column_unit != 0) {
    fail<ConfigError>("--height and --width: must be multiples of {} and {}, but are {} and {}{}",
                      row_unit, column_unit, height, width,
                      given ? "" : " as the picture; give the size of the training");
  }
  if (plan.picture) plan.picture = media::resize_and_center_crop(*plan.picture, width, height);
  plan.stream.num_height = height;
  plan.stream.num_width = width;
}

StreamingNetwork streaming_network(WanTransformer& transformer, const PlayPlan& plan) {
  transformer.parameters().load(
      load_wan_weights(plan.folder / "transformer", transformer.parameters().specs()));
  return make_streaming_network(transformer, plan.attention, *plan.attention.local_attn_size);
}

NamedNoise block_noise(const PlayPlan& plan) {
  // As `zoetrope sample` names the noise of its first video.
  return [noise = keyed_noise(plan.seed, 0, plan.device)](
             const std::string& name, at::IntArrayRef shape) { return noise("." + name, shape); };
}

}  // namespace

int64_t PlayPlan::num_keys() const {
  return network.action && network.action->enable_keyboard ? network.action->keyboard_dim_in : 0;
}

std::optional<int64_t> PlayPlan::max_frames() const {
  return max_streamed_frames(network, attention);
}

PlayPlan plan_play(const PlayModelOptions& options) {
  PlayPlan plan;
  const PipelineKind& kind = pipeline_kind(options.choices.pipeline);
  if (!kind.causal)
    fail<ConfigError>("--pipeline: must make videos block by block to be played, but is {}",
                      kind.name);
  plan.folder = resolve_model_path(options.model);
  plan.device = resolve_device(options.device);
  plan.dtype = network_dtype(options.dtype);
  plan.network = read_wan_transformer_config(plan.folder / "transformer" / "config.json");
  if (plan.network.is_game && !plan.network.is_causal) {
    fail<ConfigError>(
        "{}: must be a causal network to be played, but is a {}; train a causal one from it",
        plan.folder.string(), class_name(plan.network));
  }
  plan.attention = causal_attention(plan.network, options.choices);
  if (!plan.attention.local_attn_size) {
    fail<ConfigError>(
        "--local-attn-size: must be given for a model without a window, since a clip that is "
        "played has no end");
  }
  check_inputs(options, plan.network);
  if (!options.image.empty()) plan.picture = media::read_image(options.image);
  plan.prompt = options.prompt;
  plan.seed = options.seed;
  set_size(options, read_wan_vae_config(plan.folder / "vae"), plan);

  plan.stream.sampling = sampling_options(options.choices, kind, plan.folder, plan.device);
  // Without a text there is nothing to be guided by.
  if (!plan.network.has_text() && !options.choices.guidance_scale)
    plan.stream.sampling.guidance_scale = 1.0;
  if (plan.network.action) plan.stream.num_past_frames = plan.network.action->windows_size;
  return plan;
}

ModelPlaySession::ModelPlaySession(PlayPlan plan)
    : plan_(std::move(plan)),
      transformer_(plan_.network, {plan_.device, plan_.dtype, /*trainable=*/false}),
      vae_(plan_.folder / "vae", plan_.device, at::kFloat),
      text_(text_conditions()),
      stream_(streaming_network(transformer_, plan_), vae_, plan_.stream, block_noise(plan_)) {
  if (plan_.picture) first_frame_encoder_.emplace(plan_.folder, vae_, plan_.device);
}

GuidedConditioning ModelPlaySession::text_conditions() const {
  GuidedConditioning conditions;
  if (!plan_.network.has_text()) return conditions;
  const TextEmbedder embedder(
      {plan_.folder / "tokenizer", plan_.folder / "text_encoder", plan_.device});
  conditions.conditional.text_embedding_BLD = pad_text_embeddings({embedder.embed(plan_.prompt)});
  if (plan_.stream.sampling.guidance_scale > 1.0) {
    conditions.unconditional.text_embedding_BLD =
        pad_text_embeddings({embedder.embed(kWanNegativePrompt)});
  }
  return conditions;
}

void ModelPlaySession::begin_clip(const std::optional<media::Frame>& picture) {
  GuidedConditioning conditions = text_;
  if (first_frame_encoder_) {
    conditions.conditional = first_frame_encoder_->encode(*picture, kGivenFrames);
    conditions.conditional.text_embedding_BLD = text_.conditional.text_embedding_BLD;
  }
  stream_.start(conditions);
}

void ModelPlaySession::restart() {
  begin_clip(plan_.picture);
}

BlockActions ModelPlaySession::block_actions(const PlayActions& actions) const {
  BlockActions block;
  if (plan_.num_keys() > 0)
    block.keyboard_11K = at::tensor(actions.keyboard).to(plan_.device).view({1, 1, -1});
  if (plan_.has_mouse())
    block.mouse_112 = at::tensor(actions.mouse).to(plan_.device).view({1, 1, -1});
  return block;
}

std::vector<media::Frame> ModelPlaySession::next_frames(const PlayActions& actions) {
  const std::optional<int64_t> max_frames = plan_.max_frames();
  if (max_frames && stream_.num_frames() + stream_.num_frames_per_block() > *max_frames) {
    log_info("the model knows positions up to frame {}: a new clip begins with the last picture",
             *max_frames);
    begin_clip(last_frame_);
  }
  std::vector<media::Frame> frames = stream_.next(block_actions(actions));
  last_frame_ = frames.back();
  return frames;
}

}  // namespace zoetrope
