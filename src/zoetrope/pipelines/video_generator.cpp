#include "zoetrope/pipelines/video_generator.h"

#include <chrono>
#include <memory>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/umt5/text_embedding.h"

namespace zoetrope {
namespace {

class Stopwatch {
 public:
  void hand_on(const std::vector<media::Frame>& frames, const FrameSink& sink) {
    if (timing_.num_frames == 0) timing_.first_frame_sec = elapsed_sec();
    timing_.num_frames += static_cast<int64_t>(frames.size());
    sink(frames);
    timing_.total_sec = elapsed_sec();
  }
  const VideoTiming& timing() const { return timing_; }

 private:
  double elapsed_sec() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  VideoTiming timing_;
};

std::vector<int64_t> shape_of(const WanVae& vae, const VideoOptions& options) {
  return latent_shape(vae.config(), 1, options.num_frames, options.num_height, options.num_width);
}

void check_size(const media::Frame& first_frame, const VideoOptions& options) {
  if (first_frame.height == options.num_height && first_frame.width == options.num_width) return;
  fail<DataError>("sampling: the first frame must have the video's {} x {} pixels, but has {} x {}",
                  options.num_height, options.num_width, first_frame.height, first_frame.width);
}

/// One row of a batch; undefined stays undefined.
at::Tensor action_rows(const at::Tensor& actions_F, const VideoOptions& options,
                       at::Device device) {
  if (!actions_F.defined()) return {};
  if (actions_F.size(0) != options.num_frames) {
    fail<DataError>("sampling: actions must have a row for each of the {} frames, but have {}",
                    options.num_frames, actions_F.size(0));
  }
  return actions_F.to(device, at::kFloat).unsqueeze(0);
}

}  // namespace

VideoGenerator::VideoGenerator(std::filesystem::path pipeline_folder, at::Device device)
    : pipeline_folder_(std::move(pipeline_folder)),
      device_(device),
      vae_(pipeline_folder_ / "vae", device, at::kFloat) {}

void VideoGenerator::prepare_prompts(const std::vector<std::string>& prompts) {
  std::unique_ptr<TextEmbedder> embedder;
  for (const std::string& prompt : prompts) {
    if (embeddings_.contains(prompt)) continue;
    if (!embedder) {
      embedder = std::make_unique<TextEmbedder>(TextEmbedderOptions{
          pipeline_folder_ / "tokenizer", pipeline_folder_ / "text_encoder", device_});
    }
    embeddings_[prompt] = embedder->embed(prompt);
  }
}

GuidedConditioning VideoGenerator::text_conditions(const VideoRequest& request,
                                                   const VideoOptions& options) {
  const auto embedded = [this](const std::string& prompt) {
    prepare_prompts({prompt});
    Conditioning conditioning;
    conditioning.text_embedding_BLD = pad_text_embeddings({embeddings_.at(prompt)});
    return conditioning;
  };
  if (!options.has_text) return {};
  if (options.sampling.guidance_scale <= 1.0) return {embedded(request.prompt), {}};
  prepare_prompts({request.prompt, options.negative_prompt});
  return {embedded(request.prompt), embedded(options.negative_prompt)};
}

GuidedConditioning VideoGenerator::conditions(const VideoRequest& request,
                                              const VideoOptions& options) {
  GuidedConditioning guided = text_conditions(request, options);
  Conditioning& given = guided.conditional;
  if (request.first_frame) {
    check_size(*request.first_frame, options);
    if (!first_frame_encoder_) first_frame_encoder_.emplace(pipeline_folder_, vae_, device_);
    const Conditioning image =
        first_frame_encoder_->encode(*request.first_frame, options.num_frames);
    given.image_embedding_BLD = image.image_embedding_BLD;
    given.image_latents_BTCHW = image.image_latents_BTCHW;
  }
  given.keyboard_BFK = action_rows(request.keyboard_FK, options, device_);
  given.mouse_BF2 = action_rows(request.mouse_F2, options, device_);
  return guided;
}

int64_t VideoGenerator::num_latent_frames(const VideoOptions& options) const {
  return shape_of(vae_, options)[2];
}

VideoTiming VideoGenerator::generate(const DenoisingNetwork& network, const VideoRequest& request,
                                     const VideoOptions& options, const FrameSink& sink,
                                     const SamplingProgress& progress) {
  const at::NoGradGuard no_grad;
  const auto shape = shape_of(vae_, options);
  const GuidedConditioning guided = conditions(request, options);
  const NamedNoise noise = keyed_noise(options.seed, request.noise_index, device_);
  const auto fresh_noise = [&](int64_t step) { return noise(fmt::format(".step{}", step), shape); };
  Stopwatch stopwatch;
  const at::Tensor latents_BCTHW =
      sample_latents(network, noise("", shape), guided, options.sampling, progress, fresh_noise);
  stopwatch.hand_on(to_frames(decode_to_bytes(vae_, latents_BCTHW)[0]), sink);
  return stopwatch.timing();
}

VideoTiming VideoGenerator::stream(const StreamingNetwork& network, const VideoRequest& request,
                                   const VideoOptions& options, const FrameSink& sink,
                                   const SamplingProgress& progress) {
  const at::NoGradGuard no_grad;
  const StreamedClip clip{shape_of(vae_, options), options.sampling};
  const GuidedConditioning guided = conditions(request, options);
  const NamedNoise noise = keyed_noise(options.seed, request.noise_index, device_);
  WanVaeDecoding decoding;
  Stopwatch stopwatch;
  stream_latents(
      network, guided, clip,
      [&](const std::string& name, at::IntArrayRef shape) { return noise("." + name, shape); },
      [&](const FrameBlock& /*block*/, const at::Tensor& latents_BCTHW) {
        stopwatch.hand_on(to_frames(decode_next_to_bytes(vae_, latents_BCTHW, decoding)[0]), sink);
      },
      progress);
  return stopwatch.timing();
}

}  // namespace zoetrope
