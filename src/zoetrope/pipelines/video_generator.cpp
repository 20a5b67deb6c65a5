#include "zoetrope/pipelines/video_generator.h"

#include <chrono>
#include <memory>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

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

Conditioning VideoGenerator::text_condition(const std::string& prompt) const {
  Conditioning conditioning;
  conditioning.text_embedding_BLD = pad_text_embeddings({embeddings_.at(prompt)});
  return conditioning;
}

GuidedConditioning VideoGenerator::conditions(const VideoRequest& request,
                                              const VideoOptions& options) {
  if (options.sampling.guidance_scale <= 1.0) {
    prepare_prompts({request.prompt});
    return {text_condition(request.prompt), {}};
  }
  prepare_prompts({request.prompt, options.negative_prompt});
  return {text_condition(request.prompt), text_condition(options.negative_prompt)};
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
