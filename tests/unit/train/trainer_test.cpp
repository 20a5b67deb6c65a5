#include "zoetrope/train/trainer.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/fake_run.h"
#include "zoetrope/base/error.h"
#include "zoetrope/callbacks/ema.h"
#include "zoetrope/callbacks/grad_clip.h"
#include "zoetrope/methods/fine_tuning/fine_tune_method.h"

namespace zoetrope {
namespace {

using test::FakeModel;
using test::FakeRun;
using testing::HasSubstr;

TEST(Trainer, AccumulationGivesTheSameAsOneLargeBatch) {
  FakeRun whole(2);
  whole.train(3, 1);
  FakeRun accumulated(1);
  accumulated.train(3, 2);
  EXPECT_TRUE(at::allclose(whole.weights(), accumulated.weights(), 1e-6, 1e-7));
  EXPECT_NEAR(whole.tracker.values[3]["total_loss"], accumulated.tracker.values[3]["total_loss"],
              1e-6);
}

TEST(Trainer, IsTheSameBitForBitWhenRepeated) {
  FakeRun first(2);
  first.train(3, 1);
  FakeRun second(2);
  second.train(3, 1);
  EXPECT_TRUE(at::equal(first.weights(), second.weights()));
}

TEST(Trainer, StopsBeforeTheOptimizerWhenTheLossIsNotFinite) {
  FakeRun run(2);
  const at::Tensor before = run.weights();
  dynamic_cast<FakeModel&>(run.method->student()).poison = NAN;
  try {
    run.train(3, 1);
    FAIL() << "must throw";
  } catch (const TrainingError& error) {
    EXPECT_THAT(error.what(), HasSubstr("step 1: total_loss must be finite, but is nan"));
    EXPECT_THAT(error.what(), HasSubstr("video_000"));
  }
  EXPECT_TRUE(at::equal(run.weights(), before));
}

TEST(Trainer, RefusesAMethodThatKeepsAGradientForALaterStep) {
  struct EverySecondStep : FineTuneMethod {
    using FineTuneMethod::FineTuneMethod;
    std::vector<RoleOptimizer*> optimizers(int64_t step) override {
      return step == 2 ? std::vector<RoleOptimizer*>() : FineTuneMethod::optimizers(step);
    }
  };
  FakeRun run(2);
  run.method = std::make_unique<EverySecondStep>(FineTuneConfig{}, run.method_context());
  EXPECT_THAT(test::error_of([&] { run.train(3, 1); }),
              HasSubstr("step 2: a role that gets a gradient must have an optimizer that steps, "
                        "but that of 'student' does not"));
}

TEST(Trainer, LogsWhatTheRunNeeds) {
  FakeRun run(2);
  run.callbacks.emplace_back(
      "grad_clip", std::make_unique<GradNormClipCallback>(GradNormClipConfig{}, CallbackContext{}));
  run.train(2, 1);
  for (const char* name : {"total_loss", "finetune_loss", "lr/student", "grad_norm/student",
                           "step_time_sec", "data_wait_sec", "samples_per_sec", "tokens_per_sec"}) {
    EXPECT_TRUE(run.tracker.values[2].contains(name)) << name;
  }
}

TEST(GradNormClip, LimitsTheUpdate) {
  // AdamW's first update does not depend on the gradient's size, so the clip shows from the second
  // on.
  FakeRun free(2);
  free.train(3, 1);
  FakeRun clipped(2);
  GradNormClipConfig config;
  config.max_grad_norm = 1e-9;
  clipped.callbacks.emplace_back("grad_clip",
                                 std::make_unique<GradNormClipCallback>(config, CallbackContext{}));
  clipped.train(3, 1);
  EXPECT_FALSE(at::allclose(free.weights(), clipped.weights(), 1e-3));
}

TEST(Ema, StartsAsACopyAndThenFollows) {
  FakeRun run(2);
  EmaConfig config;
  config.decay = 0.5;
  config.start_iter = 2;
  run.callbacks.emplace_back("ema", std::make_unique<EmaCallback>(config, CallbackContext{}));
  struct Probe : Callback {
    void on_training_step_end(RunState& state) override {
      weights.push_back(state.method.student().parameters().at("scale").value.item<double>());
      averages.push_back(
          state.average == nullptr ? NAN : state.average->tensors()[0].second.item<double>());
    }
    std::vector<double> weights;
    std::vector<double> averages;
  };
  auto probe = std::make_unique<Probe>();
  const Probe& seen = *probe;
  run.callbacks.emplace_back("probe", std::move(probe));
  run.train(3, 1);
  EXPECT_TRUE(std::isnan(seen.averages[0]));
  EXPECT_FLOAT_EQ(seen.averages[1], seen.weights[1]);
  EXPECT_FLOAT_EQ(seen.averages[2], 0.5 * seen.weights[1] + 0.5 * seen.weights[2]);
}

}  // namespace
}  // namespace zoetrope
