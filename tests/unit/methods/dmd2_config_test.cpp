#include "zoetrope/methods/distribution_matching/dmd2_config.h"

#include <gmock/gmock.h>

#include "support/config_faults.h"

namespace zoetrope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> faults(const std::string& keys, const std::string& mode = "simulate",
                                const config::RunFacts& run = {.num_latent_frames = 12}) {
  return test::config_faults<Dmd2Config>("rollout_mode: " + mode +
                                             "\nfake_score_learning_rate: 1\nfake_score_betas: [0, "
                                             "0.9]\nfake_score_lr_scheduler: constant\n" +
                                             keys,
                                         run);
}

TEST(Dmd2Config, StepsDescendFrom1000To1) {
  for (const char* steps : {"[1000]", "[1000, 750, 500, 250]", "[999, 1]", "[990, 500]"})
    EXPECT_THAT(faults(std::string("dmd_denoising_steps: ") + steps), IsEmpty()) << steps;
  for (const char* steps :
       {"[]", "[1000, 1000]", "[500, 750]", "[1000, 250, 500]", "[1001, 500]", "[1000, 0]"}) {
    EXPECT_THAT(faults(std::string("dmd_denoising_steps: ") + steps),
                ElementsAre(HasSubstr("f:5: method.dmd_denoising_steps: must be a list of "
                                      "descending timesteps from 1000 (noise) to 1, but got [")))
        << steps;
  }
}

TEST(Dmd2Config, RolloutsFromNoiseBeginWhereThereIsNothingButNoise) {
  EXPECT_THAT(faults("dmd_denoising_steps: [750, 500, 250]"),
              ElementsAre("f:5: method.dmd_denoising_steps: must begin with 990 or above where "
                          "rollouts begin with pure noise, which the student would take for a clip "
                          "at the first step, but got 750"));
  EXPECT_THAT(faults("dmd_denoising_steps: [989]"), ElementsAre(HasSubstr("but got 989")));
  EXPECT_THAT(faults("dmd_denoising_steps: [750, 500, 250]", "data_latent"), IsEmpty());
}

TEST(Dmd2Config, TimestepsAreComparedInARange) {
  const std::string steps = "dmd_denoising_steps: [1000]\n";
  EXPECT_THAT(faults(steps + "max_timestep_ratio: 0.2\nmin_timestep_ratio: 0.2\n"), IsEmpty());
  EXPECT_THAT(faults(steps + "max_timestep_ratio: 0.2\nmin_timestep_ratio: 0.5\n"),
              ElementsAre("f:7: method.min_timestep_ratio: must be at most max_timestep_ratio, "
                          "which is 0.2, but got 0.5"));
}

TEST(Dmd2Config, NoisedDataNeedsLatents) {
  const std::string steps = "dmd_denoising_steps: [1000]\n";
  const config::RunFacts text_only{.num_latent_frames = 12, .has_latents = false};
  EXPECT_THAT(faults(steps, "data_latent"), IsEmpty());
  EXPECT_THAT(faults(steps, "simulate", text_only), IsEmpty());
  EXPECT_THAT(faults(steps, "data_latent", text_only),
              ElementsAre("f:1: method.rollout_mode: must be simulate for data without latents, "
                          "but got data_latent"));
}

}  // namespace
}  // namespace zoetrope
