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

void check_video_length(const WanVaeConfig& vae, int64_t num_frames,
                        std::optional<int64_t> max_latent_frames, const std::string& key) {
  if (!max_latent_frames || vae.num_latent_frames(num_frames) <= *max_latent_frames) return;
  fail<ConfigError>(
      "{}: must be at most {}, since the network knows the positions of {} latent frames "
      "(rope_max_seq_len), but is {}",
      key, vae.num_frames(*max_latent_frames), *max_latent_frames, num_frames);
}

std::unique_ptr<Sampler> make_sampler(const SamplingOptions& options,
                                      const FreshNoise& fresh_noise) {
  if (options.few_step) return std::make_unique<FewStepSampler>(*options.few_step, fresh_noise);
  if (options.sampler == SamplerKind::kFlowMatchEuler) {
    return std::make_unique<FlowMatchEuler>(
        make_euler_schedule(options.flow_shift, options.num_steps));
  }
  return std::make_unique<UniPc>(make_unipc_schedule(options.flow_shift, options.num_steps));
}

GuidedRows::GuidedRows(const GuidedConditioning& conditions, double guidance_scale,
                       int64_t num_videos)
    : conditioning_(conditions.conditional), guidance_scale_(guidance_scale) {
  if (conditioning_.num_rows() != num_videos) {
    fail<Error>("sampling: there must be one row of conditions per video, but there are {} for {}",
                conditioning_.num_rows(), num_videos);
  }
  if (guidance_scale <= 1.0) return;
  if (conditions.unconditional.num_rows() == 0) {
    fail<Error>(
        "sampling: guidance_scale {} needs unconditional conditions (a negative text), but there "
        "are none; a scale of 1 needs none",
        guidance_scale);
  }
  conditioning_ = concatenate_rows(conditions.unconditional, conditions.conditional);
}

at::Tensor GuidedRows::rows(const at::Tensor& latents_BCTHW) const {
  return guidance_scale_ > 1.0 ? at::cat({latents_BCTHW, latents_BCTHW}) : latents_BCTHW;
}

at::Tensor GuidedRows::combine(const at::Tensor& rows_BCTHW) const {
  if (guidance_scale_ <= 1.0) return rows_BCTHW;
  const std::vector<at::Tensor> halves = rows_BCTHW.chunk(2);
  return halves[0] + guidance_scale_ * (halves[1] - halves[0]);
}

at::Tensor run_sampler(Sampler& sampler, const GuidedRows& guided, const RowsVelocity& velocity,
                       const at::Tensor& noise_BCTHW, const SamplingProgress& progress) {
  const c10::NoGradGuard no_gradients;
  at::Tensor latents = noise_BCTHW.to(at::kFloat);
  for (int64_t i = 0; i < sampler.num_steps(); ++i) {
    const at::Tensor rows = guided.rows(latents);
    const at::Tensor timestep_B = at::full({rows.size(0)}, sampler.timestep(i), latents.options());
    latents = sampler.step(guided.combine(velocity(rows, timestep_B).to(at::kFloat)), i, latents);
    if (progress) progress(i + 1, sampler.num_steps());
  }
  return latents;
}

at::Tensor sample_latents(const DenoisingNetwork& network, const at::Tensor& noise_BCTHW,
                          const GuidedConditioning& conditions, const SamplingOptions& options,
                          const SamplingProgress& progress, const FreshNoise& fresh_noise) {
  const GuidedRows guided(conditions, options.guidance_scale, noise_BCTHW.size(0));
  const auto rows_velocity = [&](const at::Tensor& rows_BCTHW, const at::Tensor& timestep_B) {
    return network(rows_BCTHW, timestep_B, guided.conditioning());
  };
  return run_sampler(*make_sampler(options, fresh_noise), guided, rows_velocity, noise_BCTHW,
                     progress);
}

at::Tensor decode_to_bytes(const WanVae& vae, const at::Tensor& latents_BCTHW) {
  WanVaeDecoding clip;
  return decode_next_to_bytes(vae, latents_BCTHW, clip);
}

at::Tensor decode_next_to_bytes(const WanVae& vae, const at::Tensor& latents_BCTHW,
                                WanVaeDecoding& clip) {
  const at::Tensor pixels_BCFHW =
      vae.decode_next(vae.denormalize(latents_BCTHW), clip).to(at::kFloat);
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
