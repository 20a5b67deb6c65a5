// Text to video with a Wan network: sampling with classifier-free guidance, decoding, frames. The
// network is a function, so that training's own network, an EMA copy or a file's can be sampled
// alike; conditions come in as embeddings. Source: Wan Team 2025, section 4.2; Ho and Salimans 2022
// (classifier-free guidance).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "zoetrope/diffusion/samplers/few_step_sampler.h"
#include "zoetrope/media/frame.h"
#include "zoetrope/networks/conditioning.h"
#include "zoetrope/networks/wan_vae/wan_vae.h"

namespace zoetrope {

enum class SamplerKind { kUniPc, kFlowMatchEuler };

/// What Wan's T2V presets say about guidance when nothing is given: 3 for the 1.3B model (5 for
/// 14B), 50 steps, 16 fps.
struct SamplingOptions {
  SamplerKind sampler = SamplerKind::kUniPc;
  int64_t num_steps = 50;
  double guidance_scale = 3.0;  ///< 1 or less: conditional only, one row per video
  double flow_shift = 3.0;      ///< 3 for 480p, 5 for 720p
  /// Steps of a distilled student, in place of the sampler, its steps and its shift. The student
  /// learned its teacher's guidance, so guidance_scale should be 1.
  std::optional<FewStepRollout> few_step;
};

/// Called after each step with the number of steps done and of all.
using SamplingProgress = std::function<void(int64_t done, int64_t total)>;

/// Shape of the noise for a clip: [num_videos, z_dim, T, H / ratio, W / ratio]. Throws DataError
/// when the sizes do not fit the VAE.
std::vector<int64_t> latent_shape(const WanVaeConfig& vae, int64_t num_videos, int64_t num_frames,
                                  int64_t height, int64_t width);

/// Throws ConfigError, naming `key`, when a video of `num_frames` pixel frames has more latent
/// frames than `max_latent_frames`, those whose positions the network knows; none means any number.
void check_video_length(const WanVaeConfig& vae, int64_t num_frames,
                        std::optional<int64_t> max_latent_frames, const std::string& key);

/// A sampler; `fresh_noise` is what few steps take between them (see FewStepSampler).
std::unique_ptr<Sampler> make_sampler(const SamplingOptions& options,
                                      const FreshNoise& fresh_noise = {});

/// Conditions of one batch of videos.
struct GuidedConditioning {
  Conditioning conditional;
  /// For guidance, of the negative prompt: one row serves all, and what it lacks is as in
  /// `conditional`. May be empty when guidance_scale <= 1.
  Conditioning unconditional;
};

/// The rows of one network call, and their predictions' combination: with guidance (scale > 1) the
/// unconditional and the conditional ones as one batch, else the conditional ones.
class GuidedRows {
 public:
  /// Throws Error unless there is one row of conditions per video, and unconditional ones for
  /// guidance.
  GuidedRows(const GuidedConditioning& conditions, double guidance_scale, int64_t num_videos);

  const Conditioning& conditioning() const { return conditioning_; }
  at::Tensor rows(const at::Tensor& latents_BCTHW) const;
  /// v = v_negative + scale (v_text - v_negative) of the rows' predictions.
  at::Tensor combine(const at::Tensor& rows_BCTHW) const;

 private:
  Conditioning conditioning_;
  double guidance_scale_;
};

/// Normalised latents [B, C, T, H, W] sampled from `noise_BCTHW` (standard normal; the same noise
/// gives the same video). fp32 on the device of the noise. Throws Error as GuidedRows, and when
/// steps need `fresh_noise` and there is none.
at::Tensor sample_latents(const DenoisingNetwork& network, const at::Tensor& noise_BCTHW,
                          const GuidedConditioning& conditions, const SamplingOptions& options,
                          const SamplingProgress& progress = {},
                          const FreshNoise& fresh_noise = {});

/// (rows_BCTHW, timestep_B) -> velocity of the rows of GuidedRows, whose conditions it knows.
using RowsVelocity =
    std::function<at::Tensor(const at::Tensor& rows_BCTHW, const at::Tensor& timestep_B)>;

/// All steps of `sampler`, from `noise_BCTHW`: what sample_latents() does when the conditions are
/// settled.
at::Tensor run_sampler(Sampler& sampler, const GuidedRows& guided, const RowsVelocity& velocity,
                       const at::Tensor& noise_BCTHW, const SamplingProgress& progress = {});

/// Decodes normalised latents: uint8 [B, F, H, W, 3] on the CPU, rounded.
at::Tensor decode_to_bytes(const WanVae& vae, const at::Tensor& latents_BCTHW);
/// The same for the next latent frames of a clip (see WanVae::decode_next).
at::Tensor decode_next_to_bytes(const WanVae& vae, const at::Tensor& latents_BCTHW,
                                WanVaeDecoding& clip);

/// The frames of one video of decode_to_bytes(): uint8 [F, H, W, 3].
std::vector<media::Frame> to_frames(const at::Tensor& bytes_FHWC);

}  // namespace zoetrope
