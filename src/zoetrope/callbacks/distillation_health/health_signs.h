// Turns the means of a check into what is logged and what is judged. Knows no tensors and no
// history.
#pragma once

#include <vector>

#include "zoetrope/callbacks/distillation_health/collapse_detector.h"
#include "zoetrope/callbacks/distillation_health/running_means.h"
#include "zoetrope/tracking/tracker.h"

namespace zoetrope {

/// Names in RunningMeans, each with what it holds.
namespace health {
inline constexpr const char* kGenerated = "generated";  ///< latent_statistics of the student's
inline constexpr const char* kReference = "reference";  ///< latent_statistics of the reference's
inline constexpr const char* kDiversity = "diversity";  ///< [1] distance of recent clips
inline constexpr const char* kReferenceDiversity = "reference_diversity";  ///< [1]
inline constexpr const char* kNoiseDiversity = "noise_diversity";          ///< [1] same prompts
inline constexpr const char* kGradientNorm = "dmd_gradient_norm";          ///< [1]
inline constexpr const char* kGeneratorLoss = "generator_loss";  ///< [1] where it was computed
inline constexpr const char* kCriticLoss = "fake_score_loss";    ///< [1]
/// Begins `update_<role>`: [2] of UpdateProbe.
inline constexpr const char* kUpdate = "update_";
}  // namespace health

/// Everything of `means` as metrics `health/...`; those of single channels when asked to.
std::vector<Metric> health_metrics(const RunningMeans::Values& means, bool with_channels);

/// The signs that `means` allow to judge.
std::vector<VitalSign> health_signs(const RunningMeans::Values& means, double collapse_ratio);

}  // namespace zoetrope
