// Whole runs of DMD2 and of streaming long tuning on fake models with their health watched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/fake_causal_model.h"
#include "support/fake_run.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/callbacks/distillation_health/distillation_health.h"
#include "zoetrope/methods/distribution_matching/dmd2_method.h"
#include "zoetrope/methods/distribution_matching/streaming_long_tuning_method.h"

namespace zoetrope {
namespace {

using test::FakeCausalModel;
using test::FakeModel;
using test::FakeRun;
using ::testing::HasSubstr;

/// With checkpoints after every step, without a method.
std::unique_ptr<FakeRun> make_saving_run(const std::filesystem::path& folder,
                                         const std::string& resume) {
  auto run = std::make_unique<FakeRun>(1);
  run->checkpoints.checkpoint.output_dir = folder.string();
  run->checkpoints.checkpoint.resume_from_checkpoint = resume;
  run->checkpoints.checkpoint.training_state_checkpointing_steps = 1;
  run->checkpoints.raw_config = config::parse_yaml("method: {_target_: distil}", "config");
  run->checkpoints.resolved_config = run->checkpoints.raw_config;
  return run;
}

std::unique_ptr<FakeRun> make_run(const std::filesystem::path& folder, const std::string& resume,
                                  const DistillationHealthConfig& health) {
  auto run = make_saving_run(folder, resume);
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

/// Clips of four frames, the first stage's as a whole, from step 4 in windows of 2, 1 and 1 new
/// frames; the student is updated at every other step.
std::unique_ptr<FakeRun> make_streaming_run(const std::filesystem::path& folder,
                                            const std::string& resume) {
  auto run = make_saving_run(folder, resume);
  MethodContext context;
  context.roles.add("student", std::make_unique<FakeCausalModel>(run->random, 1));
  context.roles.add("teacher", std::make_unique<FakeModel>(run->random, false));
  context.roles.add("critic", std::make_unique<FakeModel>(run->random));
  context.optimizer.learning_rate = 0.01;
  context.max_train_steps = 100;
  context.num_latent_frames = 4;
  context.random = &run->random;
  StreamingLongTuningConfig config;
  config.rollout_mode = "simulate";
  config.dmd_denoising_steps = {1000, 500};
  config.generator_update_interval = 2;
  config.fake_score_learning_rate = 0.01;
  config.fake_score_lr_scheduler = "constant";
  config.chunk_size = 1;
  config.streaming_chunk_size = 2;
  config.streaming_fixed_overlap_latents = 1;
  config.streaming_reencode_overlap_anchor = false;
  DistillStageConfig whole_clips;
  whole_clips.end_step = 4;
  DistillStageConfig windows;
  windows.stage = "streaming_long";
  config.multi_phased_distill_schedule.entries = {whole_clips, windows};
  run->method = std::make_unique<StreamingLongTuningMethod>(config, std::move(context));
  DistillationHealthConfig health;
  health.every_steps = 4;
  run->callbacks.emplace_back("distillation_health",
                              std::make_unique<DistillationHealth>(health, CallbackContext{}));
  return run;
}

// Two rounds a step: windows end at rounds 1 (2 frames), 2 (3), 3 (4), 4 (2 of the next clip), ...
TEST(DistillationRun, StreamedClipsGoOnWithTheSameBitsAfterAResume) {
  const test::TemporaryFolder folder;
  const auto whole = make_streaming_run(folder / "whole", "");
  whole->train(12, 2);
  const auto& logged = whole->tracker.values;
  for (const char* name : {"motion", "contrast_reference", "diversity", "critic_error",
                           "dmd_gradient_norm", "update_to_weight/student", "alarm"})
    EXPECT_TRUE(logged.at(12).contains(std::string("health/") + name)) << name;
  EXPECT_EQ(logged.at(3).at("active_num_latent_t"), 4.0);
  EXPECT_EQ(logged.at(4).at("streaming_current_length"), (2.0 + 3.0) / 2);
  EXPECT_EQ(logged.at(5).at("streaming_current_length"), (4.0 + 2.0) / 2);
  for (const int64_t stop : {2, 4, 5, 6, 7}) {
    const auto output = folder / std::to_string(stop);
    make_streaming_run(output, "latest")->train(stop, 2);
    const auto resumed = make_streaming_run(output, "latest");
    resumed->train(12, 2);
    EXPECT_EQ(resumed->tracker.resumed_at, stop);
    EXPECT_TRUE(at::equal(resumed->weights(), whole->weights())) << stop;
    for (int64_t step = stop + 1; step <= 12; ++step) {
      for (const auto& [name, value] : logged.at(step)) {
        if (name.ends_with("_sec") || name.ends_with("_gib")) continue;
        EXPECT_EQ(resumed->tracker.values.at(step)[name], value) << stop << " " << step << name;
      }
    }
  }
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
