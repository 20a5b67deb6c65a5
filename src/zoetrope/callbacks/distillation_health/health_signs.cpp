#include "zoetrope/callbacks/distillation_health/health_signs.h"

#include <limits>
#include <optional>
#include <tuple>

#include <fmt/format.h>

#include "zoetrope/callbacks/distillation_health/latent_statistics.h"

namespace zoetrope {
namespace {

using Sick = VitalSign::Sick;
using Values = RunningMeans::Values;

constexpr double kMaxColourShift = 3.0;
constexpr double kMaxSaturation = 4.0;
constexpr double kMaxCriticError = 1.0;
constexpr double kLeastAboveZero = std::numeric_limits<double>::min();

std::optional<double> scalar(const Values& means, const char* name) {
  const auto found = means.find(name);
  if (found == means.end()) return std::nullopt;
  return found->second.front();
}

std::optional<LatentSummary> summary(const Values& means, const char* name) {
  const auto found = means.find(name);
  if (found == means.end()) return std::nullopt;
  return summarize(found->second);
}

/// The critic's loss against that of a critic that always predicts 0: its target is noise - clean,
/// whose mean square is 1 + that of the clean latents.
std::optional<double> critic_error(const Values& means) {
  const auto loss = scalar(means, health::kCriticLoss);
  const auto generated = summary(means, health::kGenerated);
  if (!loss || !generated) return std::nullopt;
  return *loss / (1.0 + generated->variance + generated->mean * generated->mean);
}

void add_summary(std::vector<Metric>& metrics, const LatentSummary& summary,
                 const std::string& suffix, bool with_channels) {
  metrics.push_back({"health/mean" + suffix, summary.mean});
  metrics.push_back({"health/variance" + suffix, summary.variance});
  metrics.push_back({"health/motion" + suffix, summary.motion});
  metrics.push_back({"health/contrast" + suffix, summary.contrast});
  if (!with_channels) return;
  for (size_t c = 0; c < summary.channel_means.size(); ++c) {
    metrics.push_back(
        {fmt::format("health/channel_mean{}/{}", suffix, c), summary.channel_means[c]});
    metrics.push_back(
        {fmt::format("health/channel_spread{}/{}", suffix, c), summary.channel_spreads[c]});
  }
}

/// Role, ratio to the weights, share that bf16 would have lost.
std::vector<std::tuple<std::string, double, double>> updates(const Values& means) {
  const std::string prefix = health::kUpdate;
  std::vector<std::tuple<std::string, double, double>> found;
  for (const auto& [name, values] : means) {
    if (name.starts_with(prefix))
      found.emplace_back(name.substr(prefix.size()), values[0], values[1]);
  }
  return found;
}

}  // namespace

std::vector<Metric> health_metrics(const Values& means, bool with_channels) {
  std::vector<Metric> metrics;
  const auto generated = summary(means, health::kGenerated);
  const auto reference = summary(means, health::kReference);
  if (generated) add_summary(metrics, *generated, "", with_channels);
  if (reference) add_summary(metrics, *reference, "_reference", with_channels);
  if (generated && reference) {
    metrics.push_back({"health/colour_shift", colour_shift(*generated, *reference)});
    metrics.push_back({"health/saturation", saturation(*generated, *reference)});
  }
  for (const char* name : {health::kDiversity, health::kNoiseDiversity, health::kGradientNorm}) {
    if (const auto value = scalar(means, name))
      metrics.push_back({fmt::format("health/{}", name), *value});
  }
  if (const auto value = scalar(means, health::kReferenceDiversity))
    metrics.push_back({"health/diversity_reference", *value});
  if (const auto error = critic_error(means)) metrics.push_back({"health/critic_error", *error});
  const auto generator_loss = scalar(means, health::kGeneratorLoss);
  const auto critic_loss = scalar(means, health::kCriticLoss);
  if (generator_loss && critic_loss && *critic_loss > 0.0)
    metrics.push_back({"health/generator_to_critic_loss", *generator_loss / *critic_loss});
  for (const auto& [role, ratio, vanished] : updates(means)) {
    metrics.push_back({"health/update_to_weight/" + role, ratio});
    metrics.push_back({"health/vanished_in_bf16/" + role, vanished});
  }
  return metrics;
}

std::vector<VitalSign> health_signs(const Values& means, double collapse_ratio) {
  std::vector<VitalSign> signs;
  const auto generated = summary(means, health::kGenerated);
  const auto reference = summary(means, health::kReference);
  if (generated && reference) {
    signs.push_back({"motion", "the frames hardly change", generated->motion,
                     collapse_ratio * reference->motion});
    signs.push_back({"contrast", "the frames are nearly solid", generated->contrast,
                     collapse_ratio * reference->contrast});
    signs.push_back({"colour_shift", "the colours are far from the reference's",
                     colour_shift(*generated, *reference), kMaxColourShift, Sick::kAbove});
    signs.push_back({"saturation", "the colours are over-saturated",
                     saturation(*generated, *reference), kMaxSaturation, Sick::kAbove});
  }
  if (const auto reference_diversity = scalar(means, health::kReferenceDiversity)) {
    const double limit = collapse_ratio * *reference_diversity;
    if (const auto value = scalar(means, health::kDiversity))
      signs.push_back({"diversity", "all clips are nearly the same", *value, limit});
    if (const auto value = scalar(means, health::kNoiseDiversity))
      signs.push_back({"noise_diversity", "the noise hardly changes a clip", *value, limit});
  }
  if (const auto error = critic_error(means)) {
    signs.push_back({"critic_error", "the critic predicts nothing of the student's score", *error,
                     kMaxCriticError, Sick::kAbove});
  }
  if (const auto norm = scalar(means, health::kGradientNorm)) {
    signs.push_back({"dmd_gradient_norm", "the teacher and the critic give no direction", *norm,
                     kLeastAboveZero});
  }
  for (const auto& [role, ratio, vanished] : updates(means)) {
    signs.push_back({"update_to_weight/" + role, fmt::format("the weights of the {} stay", role),
                     ratio, kLeastAboveZero});
  }
  return signs;
}

}  // namespace zoetrope
