#include "zoetrope/callbacks/action_sensitivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/fake_causal_model.h"
#include "support/recording_tracker.h"
#include "zoetrope/base/error.h"
#include "zoetrope/methods/fine_tuning/fine_tune_method.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"

namespace zoetrope {
namespace {

using test::error_of;
using ::testing::HasSubstr;

enum class Actions { kNone, kSame, kOwn };

/// The actions of sample i are all i; the velocity is `effect` times them, whatever the noise, so
/// that a video is its noise minus that.
at::Tensor steered(const at::Tensor& noisy_BCTHW, const Conditioning& conditioning, double effect) {
  const at::Tensor keys_B = conditioning.keyboard_BFK.flatten(1).mean(1);
  return effect * keys_B.view({-1, 1, 1, 1, 1}).expand_as(noisy_BCTHW);
}

template <class Base>
class Steered : public Base {
 public:
  template <class... Rest>
  Steered(Actions actions, RandomSource& random, Rest... rest)
      : Base(random, rest...), actions_(actions) {}

  TrainingBatch prepare_batch(const Batch& raw, LatentsSource source) override {
    TrainingBatch batch = Base::prepare_batch(raw, source);
    if (actions_ == Actions::kNone) return batch;
    const at::Tensor index_B = at::tensor(raw.sample_indices, at::kLong).to(at::kFloat);
    batch.conditional.keyboard_BFK =
        (actions_ == Actions::kOwn ? index_B : at::ones_like(index_B)).view({-1, 1, 1});
    return batch;
  }
  DenoisingNetwork denoising_network() override {
    return [this](const at::Tensor& noisy_BCTHW, const at::Tensor& /*timestep_B*/,
                  const Conditioning& conditioning) {
      return steered(noisy_BCTHW, conditioning, effect);
    };
  }
  double effect = 0.0;

 protected:
  Actions actions_;
};

class Bidirectional : public Steered<test::FakeModel> {
 public:
  using Steered::Steered;
};

class Causal : public Steered<test::FakeCausalModel> {
 public:
  using Steered::Steered;
  StreamingNetwork streaming_network(int64_t /*num_frames*/) override {
    StreamingNetwork network;
    network.num_frames_per_block = num_frames_per_block();
    network.start_clip = [] {};
    network.velocity = [this](const at::Tensor& noisy_BCTHW, const at::Tensor& /*timestep_B*/,
                              const Conditioning& conditioning, const ChunkOptions& /*chunk*/) {
      return steered(noisy_BCTHW, conditioning, effect);
    };
    return network;
  }
};

class ActionSensitivityTest : public testing::Test {
 protected:
  ActionSensitivityTest() {
    config_.every_steps = 1;
    config_.num_clips = 3;
    config_.warmup_steps = 2;
    context_.data.data_path.sources = {
        {std::string(ZOETROPE_SOURCE_DIR) + "/tests/golden/reference/_data/t2v", 1}};
    context_.data.num_latent_t = 4;
  }

  template <class Model, class... Rest>
  Model& make(Actions actions, Rest... rest) {
    MethodContext context;
    context.roles.add("student", std::make_unique<Model>(actions, random_, rest...));
    context.optimizer.learning_rate = 0.1;
    context.max_train_steps = 10;
    context.random = &random_;
    method_ = std::make_unique<FineTuneMethod>(FineTuneConfig{}, std::move(context));
    return dynamic_cast<Model&>(method_->student());
  }
  double check(ActionSensitivity& callback, int64_t step) {
    RunState run{*method_, tracker_, step};
    callback.on_validation_begin(run);
    return tracker_.values[step]["validation/action_alarm"];
  }

  ActionSensitivityConfig config_;
  CallbackContext context_;
  KeyedRandomSource random_{3};
  std::unique_ptr<TrainingMethod> method_;
  test::RecordingTracker tracker_;
};

// Clips 0, 1, 2 are given the actions 2, 0, 1.
TEST_F(ActionSensitivityTest, MeasuresHowFarOtherActionsMoveTheVideo) {
  make<Bidirectional>(Actions::kOwn).effect = 0.25;
  ActionSensitivity whole(config_, context_);
  check(whole, 1);
  EXPECT_NEAR(tracker_.values[1]["validation/action_distance"], 0.25 * (2 + 1 + 1) / 3.0, 1e-6);
  const double noise_distance = tracker_.values[1]["validation/noise_distance"];
  EXPECT_NEAR(noise_distance, std::sqrt(2.0), 0.1) << "of independent standard normal noises";
  EXPECT_DOUBLE_EQ(tracker_.values[1]["validation/action_sensitivity"],
                   tracker_.values[1]["validation/action_distance"] / noise_distance);
  make<Causal>(Actions::kOwn, 2).effect = 0.25;
  ActionSensitivity streamed(config_, context_);
  check(streamed, 2);
  EXPECT_NEAR(tracker_.values[2]["validation/action_distance"], 0.25 * (2 + 1 + 1) / 3.0, 1e-6);
}

TEST_F(ActionSensitivityTest, RaisesTheAlarmWhenActionsHaveNoEffect) {
  auto& student = make<Bidirectional>(Actions::kOwn);
  ActionSensitivity callback(config_, context_);
  for (int64_t step = 1; step <= 3; ++step)
    EXPECT_EQ(check(callback, step), 0.0) << "warm-up, then the first bad check";
  EXPECT_EQ(check(callback, 4), 1.0);
  EXPECT_EQ(tracker_.values[4]["validation/action_sensitivity"], 0.0);
  student.effect = 0.25;
  EXPECT_EQ(check(callback, 5), 0.0);
  student.effect = 0.001;
  EXPECT_EQ(check(callback, 6), 0.0);
  EXPECT_EQ(check(callback, 7), 1.0);
}

TEST_F(ActionSensitivityTest, EndsTheRunWhenAsked) {
  config_.on_alarm = "stop";
  config_.num_checks = 1;
  make<Bidirectional>(Actions::kOwn);
  ActionSensitivity callback(config_, context_);
  EXPECT_NO_THROW(check(callback, 2));
  EXPECT_THROW(check(callback, 3), TrainingError);
  EXPECT_THAT(error_of([&] { check(callback, 4); }),
              HasSubstr("step 4: actions must have an effect, but the actions hardly change"));
}

TEST_F(ActionSensitivityTest, ChecksWhenItIsDue) {
  config_.every_steps = 2;
  make<Bidirectional>(Actions::kOwn);
  ActionSensitivity callback(config_, context_);
  for (int64_t step = 0; step <= 3; ++step) check(callback, step);
  EXPECT_EQ(tracker_.values[0].count("validation/action_distance"), 0U);
  EXPECT_EQ(tracker_.values[2].count("validation/action_distance"), 1U);
  EXPECT_EQ(tracker_.values[3].count("validation/action_distance"), 0U);
}

TEST_F(ActionSensitivityTest, RemembersItsChecks) {
  make<Bidirectional>(Actions::kOwn);
  ActionSensitivity first(config_, context_);
  check(first, 3);
  ActionSensitivity resumed(config_, context_);
  RunState run{*method_, tracker_};
  resumed.load_state_dict(first.state_dict(), run);
  EXPECT_EQ(check(resumed, 4), 1.0);
}

TEST_F(ActionSensitivityTest, RefusesStudentsWithoutActionsAndClipsThatAreAlike) {
  make<Bidirectional>(Actions::kNone);
  ActionSensitivity without(config_, context_);
  EXPECT_THAT(error_of([&] { check(without, 1); }), HasSubstr("has neither keyboard nor mouse"));
  make<Bidirectional>(Actions::kSame);
  ActionSensitivity same(config_, context_);
  EXPECT_THAT(error_of([&] { check(same, 1); }), HasSubstr("the first 3 all have the same"));
}

}  // namespace
}  // namespace zoetrope
