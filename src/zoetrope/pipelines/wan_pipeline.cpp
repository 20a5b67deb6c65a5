#include "zoetrope/pipelines/wan_pipeline.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "zoetrope/base/error.h"
#include "zoetrope/diffusion/samplers/flow_match_euler.h"
#include "zoetrope/diffusion/samplers/sampling_schedules.h"
#include "zoetrope/diffusion/samplers/unipc.h"

namespace zoetrope {

std::vector<int64_t> latent_shape(const WanVaeConfig& vae, int64_t num_videos, int64_t num_frames,
                                  int64_t height, int64_t width) {
  const int64_t ratio = vae.spatial_ratio();
  if (height < ratio || width < ratio || height % ratio != 0 || width % ratio != 0) {
    fail<DataError>("video size: height and width must be positive multiples of {}, but are {}x{}",
                    ratio, height, width);
  }
  return {num_videos, vae.z_dim, vae.num_latent_frames(num_frames), height / ratio, width / ratio};
}

std::unique_ptr<Sampler> make_sampler(const SamplingOptions& options) {
  if (options.sampler == SamplerKind::kFlowMatchEuler) {
    return std::make_unique<FlowMatchEuler>(
        make_euler_schedule(options.flow_shift, options.num_steps));
  }
  return std::make_unique<UniPc>(make_unipc_schedule(options.flow_shift, options.num_steps));
}

at::Tensor sample_latents(const VelocityFunction& velocity, const at::Tensor& noise_BCTHW,
                          const GuidedText& text, const SamplingOptions& options,
                          const SamplingProgress& progress) {
  const c10::NoGradGuard no_gradients;
  const int64_t batch = noise_BCTHW.size(0);
  const bool guided = options.guidance_scale > 1.0;
  if (text.text_BLD.size(0) != batch) {
    fail<Error>("sampling: there must be one text per video, but there are {} for {}",
                text.text_BLD.size(0), batch);
  }
  if (guided && !text.negative_text_BLD.defined()) {
    fail<Error>(
        "sampling: guidance_scale {} needs a negative text, but there is none; a scale of 1 needs "
        "none",
        options.guidance_scale);
  }
  at::Tensor rows_text = text.text_BLD;
  if (guided) {
    rows_text = at::cat({text.negative_text_BLD.expand_as(text.text_BLD), text.text_BLD});
  }
  const std::unique_ptr<Sampler> sampler = make_sampler(options);
  at::Tensor latents = noise_BCTHW.to(at::kFloat);
  for (int64_t i = 0; i < sampler->num_steps(); ++i) {
    const at::Tensor rows = guided ? at::cat({latents, latents}) : latents;
    const at::Tensor timestep_B = at::full({rows.size(0)}, sampler->timestep(i), latents.options());
    at::Tensor predicted = velocity(rows, timestep_B, rows_text).to(at::kFloat);
    if (guided) {
      const std::vector<at::Tensor> halves = predicted.chunk(2);
      predicted = halves[0] + options.guidance_scale * (halves[1] - halves[0]);
    }
    latents = sampler->step(predicted, i, latents);
    if (progress) progress(i + 1, sampler->num_steps());
  }
  return latents;
}

at::Tensor decode_to_bytes(const WanVae& vae, const at::Tensor& latents_BCTHW) {
  const at::Tensor pixels_BCFHW = vae.decode(vae.denormalize(latents_BCTHW)).to(at::kFloat);
  const at::Tensor bytes =
      pixels_BCFHW.add_(1.0).mul_(127.5).round_().clamp_(0.0, 255.0).to(at::kByte);
  return bytes.permute({0, 2, 3, 4, 1}).contiguous().to(at::kCPU);
}

std::vector<media::Frame> to_frames(const at::Tensor& bytes_FHWC) {
  if (bytes_FHWC.dim() != 4 || bytes_FHWC.size(3) != 3 || bytes_FHWC.scalar_type() != at::kByte) {
    fail<Error>("frames: must be uint8 [F, H, W, 3], but have shape {}",
                format_shape(bytes_FHWC.sizes()));
  }
  const at::Tensor bytes = bytes_FHWC.to(at::kCPU).contiguous();
  const int64_t frame_bytes = bytes.size(1) * bytes.size(2) * 3;
  std::vector<media::Frame> frames;
  for (int64_t i = 0; i < bytes.size(0); ++i) {
    media::Frame& frame =
        frames.emplace_back(static_cast<int>(bytes.size(2)), static_cast<int>(bytes.size(1)));
    std::copy_n(bytes.const_data_ptr<uint8_t>() + i * frame_bytes, frame_bytes, frame.rgb.begin());
  }
  return frames;
}

}  // namespace zoetrope
