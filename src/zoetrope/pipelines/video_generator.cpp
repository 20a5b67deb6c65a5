#include "zoetrope/pipelines/video_generator.h"

#include <memory>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/networks/umt5/text_embedding.h"
#include "zoetrope/tensor/random_source.h"

namespace zoetrope {

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

at::Tensor VideoGenerator::text_BLD(const std::string& prompt) const {
  return pad_text_embeddings({embeddings_.at(prompt)});
}

std::vector<media::Frame> VideoGenerator::generate(const VelocityFunction& velocity,
                                                   const VideoRequest& request,
                                                   const VideoOptions& options,
                                                   const SamplingProgress& progress) {
  at::NoGradGuard no_grad;
  prepare_prompts({request.prompt, options.negative_prompt});
  const auto shape =
      latent_shape(vae_.config(), 1, options.num_frames, options.num_height, options.num_width);
  KeyedRandomSource random(options.seed);
  const at::Tensor noise_BCTHW =
      random.normal({"sampling.noise", {request.noise_index}}, shape).to(device_);
  const GuidedText text{text_BLD(request.prompt), text_BLD(options.negative_prompt)};
  const at::Tensor latents_BCTHW =
      sample_latents(velocity, noise_BCTHW, text, options.sampling, progress);
  return to_frames(decode_to_bytes(vae_, latents_BCTHW)[0]);
}

}  // namespace zoetrope
