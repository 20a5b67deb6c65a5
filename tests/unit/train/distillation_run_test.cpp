// A whole DMD2 run on fake models with its health watched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/fake_run.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/callbacks/distillation_health/distillation_health.h"
#include "zoetrope/methods/distribution_matching/dmd2_method.h"

namespace zoetrope {
namespace {

using test::FakeModel;
using test::FakeRun;
using ::testing::HasSubstr;

std::unique_ptr<FakeRun> make_run(const std::filesystem::path& folder, const std::string& resume,
                                  const DistillationHealthConfig& health) {
  auto run = std::make_unique<FakeRun>(1);
  run->checkpoints.checkpoint.output_dir = folder.string();
  run->checkpoints.checkpoint.resume_from_checkpoint = resume;
  run->checkpoints.checkpoint.training_state_checkpointing_steps = 1;
  run->checkpoints.raw_config = config::parse_yaml("method: {_target_: dmd2}", "config");
  run->checkpoints.resolved_config = run->checkpoints.raw_config;
  MethodContext context;
  for (const char* role : {"student", "teacher", "critic"}) {
    context.roles.add(role,
                      std::make_unique<FakeModel>(run->random, role != std::string("teacher")));
  }
  context.optimizer.learning_rate = 0.01;
  context.max_train_steps = 100;
  context.random = &run->random;
  Dmd2Config dmd2;
  dmd2.rollout_mode = "simulate";
  dmd2.dmd_denoising_steps = {1000};
  dmd2.generator_update_interval = 3;
  dmd2.fake_score_learning_rate = 0.01;
  dmd2.fake_score_lr_scheduler = "constant";
  run->method = std::make_unique<Dmd2Method>(dmd2, std::move(context));
  run->callbacks.emplace_back("distillation_health",
                              std::make_unique<DistillationHealth>(health, CallbackContext{}));
  return run;
}

TEST(DistillationRun, LogsTheSameHealthAfterAResume) {
  const test::TemporaryFolder folder;
  DistillationHealthConfig health;
  health.every_steps = 4;
  const auto whole = make_run(folder / "whole", "", health);
  whole->train(16, 1);
  const auto& logged = whole->tracker.values;
  for (const char* name :
       {"motion", "contrast_reference", "diversity", "noise_diversity", "critic_error",
        "dmd_gradient_norm", "update_to_weight/student", "update_to_weight/critic", "alarm"})
    EXPECT_TRUE(logged.at(16).contains(std::string("health/") + name)) << name;
  EXPECT_FALSE(logged.at(15).contains("health/motion"));
  for (const int64_t stop : {2, 5, 8}) {
    const auto output = folder / std::to_string(stop);
    make_run(output, "latest", health)->train(stop, 1);
    const auto resumed = make_run(output, "latest", health);
    resumed->train(16, 1);
    for (const int64_t step : {8, 12, 16}) {
      if (step <= stop) continue;
      for (const auto& [name, value] : logged.at(step)) {
        if (name.starts_with("health/")) {
          EXPECT_EQ(resumed->tracker.values.at(step)[name], value) << stop << " " << name;
        }
      }
    }
  }
}

// A student that maps every noise to 0 at every step: solid, static, and always the same.
TEST(DistillationRun, ASolidStudentEndsTheRunWhenAsked) {
  const test::TemporaryFolder folder;
  DistillationHealthConfig health;
  health.on_alarm = "stop";
  health.warmup_steps = 20;
  const auto run = make_run(folder / "run", "", health);
  run->checkpoints.checkpoint.training_state_checkpointing_steps = 0;
  struct Collapse : Callback {
    void on_training_step_end(RunState& state) override {
      if (state.step < 40) return;
      // At sigma 1 the clean prediction is (1 - scale) noise - offset.
      state.method.student().parameters().load(
          {{"scale", at::ones({1})}, {"offset", at::zeros({1})}});
    }
  };
  run->callbacks.emplace_back("collapse", std::make_unique<Collapse>());
  try {
    run->train(100, 1);
    FAIL() << "must throw";
  } catch (const TrainingError& error) {
    EXPECT_THAT(error.what(), HasSubstr("must not collapse, but "));
    EXPECT_GT(run->tracker.values.rbegin()->first, 40);
    EXPECT_LE(run->tracker.values.rbegin()->first, 90);
  }
}

}  // namespace
}  // namespace zoetrope
