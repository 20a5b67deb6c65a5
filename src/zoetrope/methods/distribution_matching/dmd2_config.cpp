#include "zoetrope/methods/distribution_matching/dmd2_config.h"

#include <fmt/ranges.h>

#include "zoetrope/diffusion/flow_match_schedule.h"
#include "zoetrope/diffusion/timestep_list.h"
#include "zoetrope/methods/requirements.h"

namespace zoetrope {
namespace {

constexpr const char* kStepsKey = "dmd_denoising_steps";
/// Pure noise passes for a clip at this level: a hundredth of its signal is missing.
constexpr int64_t kLeastFirstStep = 990;

void check_steps(const Dmd2Config& method, const config::Node& node,
                 const config::ReadContext& context) {
  const std::vector<int64_t>& steps = method.dmd_denoising_steps;
  if (!are_descending_timesteps(steps, 1)) {
    refuse_key(node, kStepsKey, context,
               fmt::format("must be a list of descending timesteps from {} (noise) to 1, but got "
                           "[{}]",
                           kNumTrainTimesteps, fmt::join(steps, ", ")));
  } else if (method.simulates() && steps.front() < kLeastFirstStep) {
    refuse_key(
        node, kStepsKey, context,
        fmt::format("must begin with {} or above where rollouts begin with pure noise, which "
                    "the student would take for a clip at the first step, but got {}",
                    kLeastFirstStep, steps.front()));
  }
}

}  // namespace

void Dmd2Config::describe(config::Schema<Dmd2Config>& schema) {
  using config::between;
  schema.required("rollout_mode", &Dmd2Config::rollout_mode,
                  "`simulate`: the student denoises from noise along its own steps; `data_latent`: "
                  "it denoises noised data in one step.",
                  config::one_of({"simulate", "data_latent"}, {"sim", "data", "vae_latent"}));
  schema.required(
      "dmd_denoising_steps", &Dmd2Config::dmd_denoising_steps,
      "Timesteps at which the student denoises, descending from 1000 to 1 or above. Where "
      "rollouts begin with noise, the first must be 990 or above.");
  schema.field("warp_denoising_step", &Dmd2Config::warp_denoising_step,
               "Take the steps on the unshifted scale and move them onto the schedule.");
  schema.field("generator_update_interval", &Dmd2Config::generator_update_interval,
               "The student is updated at every this many steps, the critic at each; 0 or less: "
               "both at each. A learning-rate schedule advances only at its role's updates.");
  schema.field("real_score_guidance_scale", &Dmd2Config::real_score_guidance_scale,
               "Guidance of the teacher: unconditional + scale (conditional - unconditional).");
  schema.field("min_timestep_ratio", &Dmd2Config::min_timestep_ratio,
               "Least timestep at which scores are compared, as a share of 1000.", between(0, 1));
  schema.field("max_timestep_ratio", &Dmd2Config::max_timestep_ratio,
               "Greatest timestep at which scores are compared, as a share of 1000.",
               between(0, 1));
  schema.required("fake_score_learning_rate", &Dmd2Config::fake_score_learning_rate,
                  "Learning rate of the critic.", config::greater_than(0));
  schema.required("fake_score_betas", &Dmd2Config::fake_score_betas,
                  "AdamW's betas of the critic.");
  schema.required("fake_score_lr_scheduler", &Dmd2Config::fake_score_lr_scheduler,
                  "Learning-rate schedule of the critic.", known_lr_scheduler());
  schema.field("cfg_uncond", &Dmd2Config::cfg_uncond,
               "What the teacher's unconditional score is conditioned on.");
  schema.without_effect("attn_kind", "attention is dense");
  schema.check(check_steps);
  schema.check(
      [](const Dmd2Config& method, const config::Node& node, const config::ReadContext& context) {
        check_timestep_range(method.min_timestep_ratio, method.max_timestep_ratio, node, context);
      });
}

void Dmd2Config::check_run(const config::Node& node, const config::RunFacts& run,
                           const config::ReadContext& context) const {
  if (run.has_latents || simulates()) return;
  refuse_key(node, "rollout_mode", context,
             fmt::format("must be simulate for data without latents, but got {}", rollout_mode));
}

}  // namespace zoetrope
