// How a distilled student goes from noise to a clean sample in a few steps: predict the clean
// sample, noise it to the next step's level, predict again. One arithmetic for the rollouts of
// training and for sampling. Pure tensor functions; knows no network. Source: Yin et al. 2024
// (DMD2, arXiv 2405.14867, section 4.4); Huang et al. 2025 (Self-Forcing, arXiv 2506.08009,
// algorithm 2).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "zoetrope/diffusion/flow_match_schedule.h"

namespace zoetrope {

/// Where the noise of the next step comes from.
enum class FewStepTransition {
  kSde,  ///< fresh noise
  kOde,  ///< the noise that the prediction implies: along the flow
};

/// The steps at which a student was trained to denoise.
struct FewStepRollout {
  FlowMatchSchedule schedule;
  std::vector<at::Tensor> timesteps;  ///< fp32 [1] each, descending, on the schedule's device
  FewStepTransition transition = FewStepTransition::kSde;
  /// Causal students: timestep of the noise on a finished block before later ones see it.
  double context_noise = 0.0;
  bool warped = false;  ///< whether the steps were moved onto the schedule

  int64_t num_steps() const { return static_cast<int64_t>(timesteps.size()); }
};

/// Latent frames [first, first + size) of a clip.
struct FrameBlock {
  int64_t index = 0;
  int64_t first = 0;
  int64_t size = 0;

  bool operator==(const FrameBlock&) const = default;
};

/// The blocks in which a causal student generates `num_frames`: frames that fill no block of their
/// own join the first.
std::vector<FrameBlock> split_into_blocks(int64_t num_frames, int64_t frames_per_block);

/// fp32 [1] on the schedule's device, one for each of `steps` (1000 = pure noise, 0 = clean). With
/// `warp` a step is a place on the unshifted scale that is moved onto `schedule`
/// (Self-Forcing's `warp_denoising_step`). Throws ConfigError naming `key` when the list is empty,
/// not descending, or has a step outside [0, 1000].
std::vector<at::Tensor> denoising_timesteps(const std::vector<int64_t>& steps, bool warp,
                                            const FlowMatchSchedule& schedule,
                                            const std::string& key);

/// A prediction within a rollout: `clean` is what the network made of `noisy` at `timestep`.
struct FewStepPrediction {
  at::Tensor clean;
  at::Tensor noisy;
  at::Tensor timestep;  ///< one element, or a shape that begins that of `noisy`
};

/// The next step's input along the flow (kOde): the prediction's own noise at `next_timestep`.
at::Tensor next_input_along_flow(const FlowMatchSchedule& schedule,
                                 const FewStepPrediction& prediction,
                                 const at::Tensor& next_timestep);

}  // namespace zoetrope
