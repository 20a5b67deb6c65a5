// Simulated students: clips that move and differ, then stop doing so.
#include "zoetrope/callbacks/distillation_health/distillation_health.h"

#include <array>
#include <cmath>
#include <functional>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/fake_model.h"
#include "support/ranks.h"
#include "support/recording_tracker.h"
#include "zoetrope/base/error.h"
#include "zoetrope/methods/fine_tuning/fine_tune_method.h"

namespace zoetrope {
namespace {

using ::testing::HasSubstr;

constexpr double kTau = 6.283185307179586;
constexpr int64_t kNumFrames = 5;

/// [1, T, 4, 8, 8]: a wave that moves; direction, speed and phase are the clip's own, its colours
/// the prompt's.
at::Tensor moving_clip(double phase, double speed, const at::Tensor& colours_C) {
  const at::Tensor t = at::arange(kNumFrames, at::kFloat).view({-1, 1, 1, 1});
  const at::Tensor y = at::arange(8, at::kFloat).view({1, 1, -1, 1});
  const at::Tensor x = at::arange(8, at::kFloat).view({1, 1, 1, -1});
  const at::Tensor wave = at::sin(kTau * (x / 8.0 + speed * t) + phase) + 0.5 * at::cos(y + phase);
  return (wave * colours_C.view({1, 4, 1, 1}) + 0.2 * colours_C.view({1, 4, 1, 1})).unsqueeze(0);
}

at::Tensor draw_clip(const at::Tensor& colours_C) {
  const at::Tensor draws = at::rand({2});
  return moving_clip(draws[0].item<double>() * kTau, 0.1 + 0.2 * draws[1].item<double>(),
                     colours_C);
}

/// One step's clips: of the student, of the critic's rollout of the same prompt, of the data.
struct Clips {
  at::Tensor student;
  at::Tensor critic;
  at::Tensor reference;
};

Clips healthy_clips() {
  const at::Tensor colours_C = at::randn({4});
  return {draw_clip(colours_C), draw_clip(colours_C), draw_clip(at::randn({4}))};
}

using Distortion = std::function<void(Clips&)>;

Distortion both(const std::function<at::Tensor(const at::Tensor&)>& change) {
  return [change](Clips& clips) {
    clips.student = change(clips.student);
    clips.critic = change(clips.critic);
  };
}

at::Tensor static_frames(const at::Tensor& clip) {
  return clip.narrow(1, 0, 1).expand_as(clip) + 0.01 * at::randn_like(clip);
}

at::Tensor solid_frames(const at::Tensor& clip) {
  return clip.mean({3, 4}, true).expand_as(clip) + 0.01 * at::randn_like(clip);
}

at::Tensor the_same_clip(const at::Tensor& clip) {
  return moving_clip(0.0, 0.2, at::ones({4})) + 0.01 * at::randn_like(clip);
}

void ignore_noise(Clips& clips) {
  clips.student = clips.critic + 0.01 * at::randn_like(clips.critic);
}

struct SimulatedRun {
  explicit SimulatedRun(const DistillationHealthConfig& config = {},
                        const CallbackContext& context = {})
      : method(FineTuneConfig{}, make_context(random)),
        callback(config, context),
        state{method, tracker} {}

  static MethodContext make_context(RandomSource& random) {
    MethodContext context;
    context.roles.add("student", std::make_unique<test::FakeModel>(random));
    context.optimizer.learning_rate = 0.1;
    context.max_train_steps = 3;
    context.random = &random;
    return context;
  }

  /// One training step: the student is updated at every `interval`-th step, and the reference comes
  /// then (`teacher_reference`) or always.
  void step(const Clips& clips) {
    ++state.step;
    const bool updates = state.step % interval == 0;
    state.tensors.clear();
    if (updates) {
      state.tensors.emplace_back("generated_latents", clips.student);
      state.tensors.emplace_back("dmd_gradient", gradient_scale * at::randn_like(clips.student));
    }
    state.tensors.emplace_back("critic_latents", clips.critic);
    state.tensors.emplace_back("resampled_latents", clips.critic);
    if (updates || !teacher_reference)
      state.tensors.emplace_back("reference_latents", clips.reference);
    state.losses = {{"total_loss", at::full({}, 0.7)},
                    {"generator_loss", at::full({}, updates ? 0.5 : 0.0)},
                    {"fake_score_loss", at::full({}, critic_loss)}};
    callback.on_training_step_end(state);
  }
  void steps(int64_t count, const Distortion& distortion = {}) {
    for (int64_t i = 0; i < count; ++i) {
      Clips clips = healthy_clips();
      if (distortion) distortion(clips);
      step(clips);
    }
  }
  double logged(const std::string& name) {
    return tracker.values.at(state.step).at("health/" + name);
  }
  /// Steps after `start` until the alarm; -1 without one.
  int64_t steps_to_alarm(int64_t start) {
    for (const auto& [step, metrics] : tracker.values) {
      if (step > start && metrics.contains("health/alarm") && metrics.at("health/alarm") == 1.0)
        return step - start;
    }
    return -1;
  }

  KeyedRandomSource random{3};
  FineTuneMethod method;
  test::RecordingTracker tracker;
  DistillationHealth callback;
  RunState state;
  int64_t interval = 1;
  bool teacher_reference = false;
  double gradient_scale = 1.0;
  double critic_loss = 0.2;
};

class DistillationHealthTest : public testing::Test {
 protected:
  DistillationHealthTest() { at::manual_seed(3); }
};

TEST_F(DistillationHealthTest, AHealthyRunRaisesNoAlarm) {
  for (const int64_t interval : {1, 5, 50}) {
    SimulatedRun run;
    run.interval = interval;
    run.teacher_reference = interval > 1;
    run.steps(500);
    EXPECT_EQ(run.steps_to_alarm(0), -1) << interval;
    EXPECT_NEAR(run.logged("saturation"), 1.0, 0.5);
    EXPECT_LT(run.logged("colour_shift"), 1.0);
  }
}

// Whatever the reference, within and after the warm-up, and at every place between two checks.
TEST_F(DistillationHealthTest, ReportsACollapseWithinFiftySteps) {
  const std::vector<std::pair<const char*, Distortion>> collapses = {
      {"the frames hardly change", both(static_frames)},
      {"the frames are nearly solid", both(solid_frames)},
      {"all clips are nearly the same", both(the_same_clip)},
      {"the noise hardly changes a clip", ignore_noise}};
  for (const int64_t interval : {1, 5}) {
    SimulatedRun healthy;
    healthy.interval = interval;
    healthy.teacher_reference = interval == 5;
    for (const int64_t start : {60, 64, 69, 280, 285}) {
      healthy.steps(start - healthy.state.step);
      ASSERT_EQ(healthy.steps_to_alarm(0), -1);
      for (const auto& [complaint, collapse] : collapses) {
        SimulatedRun run;
        run.interval = interval;
        run.teacher_reference = healthy.teacher_reference;
        run.state.step = start;
        run.callback.load_state_dict(healthy.callback.state_dict(), run.state);
        testing::internal::CaptureStderr();
        run.steps(50, collapse);
        EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(complaint));
        const int64_t taken = run.steps_to_alarm(start);
        EXPECT_TRUE(taken > 0 && taken <= 40) << complaint << " " << interval << " " << taken;
      }
    }
  }
}

// The teacher's reference comes with the updates, here more rarely than checks. (One clip for all
// noises is seen only where the student is updated.)
TEST_F(DistillationHealthTest, ReportsACollapseWithinFiftySteps_HoweverRareUpdatesAre) {
  for (const int64_t interval : {11, 14, 20, 50}) {
    for (const auto& collapse : {static_frames, solid_frames, the_same_clip}) {
      SimulatedRun run;
      run.interval = interval;
      run.teacher_reference = true;
      run.steps(104);
      run.steps(50, both(collapse));
      const int64_t taken = run.steps_to_alarm(104);
      EXPECT_TRUE(taken > 0 && taken <= 40) << interval << " " << taken;
    }
  }
}

// A student is judged against itself during the warm-up: here only its first clips were alive.
TEST_F(DistillationHealthTest, ReportsTheCollapseOfTheFirstUpdate) {
  SimulatedRun run;
  run.steps(1);
  run.steps(49, both(static_frames));
  EXPECT_EQ(run.steps_to_alarm(0), 30);
}

// A teacher's view of a collapsed clip is partly collapsed, too.
TEST_F(DistillationHealthTest, SeesACollapseThatTheTeacherFollowsHalfway) {
  SimulatedRun run;
  run.teacher_reference = true;
  run.steps(60);
  run.steps(50, [](Clips& clips) {
    const at::Tensor alive = clips.critic;
    both(static_frames)(clips);
    clips.reference = 0.6 * clips.critic + 0.4 * alive;
  });
  EXPECT_GT(run.steps_to_alarm(60), 0);
}

TEST_F(DistillationHealthTest, EarlyTrainingRaisesNoAlarm) {
  // A student that starts as noise, far livelier than the data, and becomes like them.
  SimulatedRun noisy;
  for (int64_t i = 0; i < 400; ++i) {
    const double noise = std::max(0.0, 1.0 - static_cast<double>(i) / 150.0);
    noisy.steps(1, both([&](const at::Tensor& clip) {
                  return (1.0 - noise) * clip + 3.0 * noise * at::randn_like(clip);
                }));
  }
  EXPECT_EQ(noisy.steps_to_alarm(0), -1);
  // A student that starts as a blurred mean, far duller than the data, and becomes like them.
  SimulatedRun blurred;
  for (int64_t i = 0; i < 400; ++i) {
    const double share = std::min(1.0, 0.05 + static_cast<double>(i) / 200.0);
    blurred.steps(1, both([&](const at::Tensor& clip) { return share * clip; }));
  }
  EXPECT_EQ(blurred.steps_to_alarm(0), -1);
}

TEST_F(DistillationHealthTest, AStudentThatNeverComesAliveIsReportedAfterTheWarmUp) {
  SimulatedRun run;
  run.steps(300, both(static_frames));
  EXPECT_EQ(run.steps_to_alarm(0), 230);
}

TEST_F(DistillationHealthTest, AStudentThatBlowsUpIsReportedDuringTheWarmUp) {
  SimulatedRun run;
  run.steps(20);
  run.steps(50, both([](const at::Tensor& clip) { return 50.0 * clip; }));
  EXPECT_EQ(run.steps_to_alarm(0), 50);
}

TEST_F(DistillationHealthTest, ReportsColoursCriticAndDirection) {
  const auto message = [](const std::function<void(SimulatedRun&)>& break_run,
                          const Distortion& distortion) {
    SimulatedRun run;
    run.steps(210);
    break_run(run);
    testing::internal::CaptureStderr();
    run.steps(50, distortion);
    return testing::internal::GetCapturedStderr();
  };
  const auto nothing = [](SimulatedRun&) {};
  EXPECT_THAT(message(nothing, both([](const at::Tensor& clip) { return 6.0 * clip; })),
              HasSubstr("over-saturated"));
  EXPECT_THAT(message(nothing, both([](const at::Tensor& clip) { return clip + 5.0; })),
              HasSubstr("the colours are far from the reference's"));
  EXPECT_THAT(message([](SimulatedRun& run) { run.critic_loss = 4.0; }, {}),
              HasSubstr("the critic predicts nothing of the student's score"));
  EXPECT_THAT(message([](SimulatedRun& run) { run.gradient_scale = 0.0; }, {}),
              HasSubstr("the teacher and the critic give no direction"));
}

TEST_F(DistillationHealthTest, WarnsOnceAndSaysWhenItIsOver) {
  SimulatedRun run;
  run.steps(60);
  testing::internal::CaptureStderr();
  run.steps(100, both(static_frames));
  const std::string warnings = testing::internal::GetCapturedStderr();
  EXPECT_THAT(warnings, HasSubstr("warning: step 90: the student seems to collapse: the frames "
                                  "hardly change (motion is 0.0"));
  EXPECT_EQ(std::count(warnings.begin(), warnings.end(), '\n'), 1);
  EXPECT_EQ(run.logged("alarm"), 1.0);
  testing::internal::CaptureStderr();
  run.steps(20);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "step 170: the student is healthy again\n");
  EXPECT_EQ(run.logged("alarm"), 0.0);
}

TEST_F(DistillationHealthTest, StopsTheRunWhenAsked) {
  DistillationHealthConfig config;
  config.on_alarm = "stop";
  SimulatedRun run(config);
  run.steps(60);
  try {
    run.steps(50, both(solid_frames));
    FAIL() << "must throw";
  } catch (const TrainingError& error) {
    EXPECT_THAT(error.what(), HasSubstr("step 90: the student must not collapse, but "));
    EXPECT_THAT(error.what(), HasSubstr("the frames are nearly solid (contrast is 0.0"));
  }
}

// A rank that stopped alone would leave the others waiting for it.
TEST_F(DistillationHealthTest, RanksStopTogether) {
  std::array<std::string, 2> messages;
  run_ranks({.replicate = 2}, [&](const Mesh& mesh) {
    CallbackContext context;
    context.mesh = std::make_shared<Mesh>(mesh);
    DistillationHealthConfig config;
    config.on_alarm = "stop";
    SimulatedRun run(config, context);
    run.steps(20);
    const double blown_up = mesh.rank == 1 ? 50.0 : 1.0;
    messages.at(static_cast<size_t>(mesh.rank)) = test::error_of(
        [&] { run.steps(50, both([&](const at::Tensor& clip) { return blown_up * clip; })); });
  });
  EXPECT_THAT(messages[0], HasSubstr("step 50: the student must not collapse, but "));
  EXPECT_THAT(messages[0], HasSubstr("over-saturated"));
  EXPECT_EQ(messages[1], messages[0]);
}

TEST_F(DistillationHealthTest, OffMeansNothingIsLogged) {
  DistillationHealthConfig config;
  config.every_steps = 0;
  SimulatedRun run(config);
  run.steps(30);
  EXPECT_TRUE(run.tracker.values.empty());
}

/// After `stop`, `resumed` logged what `whole` did.
void expect_same_log(const SimulatedRun& whole, SimulatedRun& resumed, int64_t stop) {
  for (const auto& [step, metrics] : whole.tracker.values) {
    if (step <= stop) continue;
    for (const auto& [name, value] : metrics) {
      if (name == "health/dmd_gradient_norm") continue;  // a simulated step draws it anew
      EXPECT_EQ(resumed.tracker.values[step][name], value) << stop << " " << step << name;
    }
  }
}

TEST_F(DistillationHealthTest, AResumedRunLogsWhatTheUninterruptedOneLogs) {
  std::vector<Clips> clips;
  for (int64_t i = 0; i < 120; ++i) {
    clips.push_back(healthy_clips());
    if (i >= 60) both(static_frames)(clips.back());
  }
  const auto make = [] {
    auto run = std::make_unique<SimulatedRun>();
    run->interval = 15;
    run->teacher_reference = true;
    return run;
  };
  const auto whole = make();
  for (const Clips& step : clips) whole->step(step);
  EXPECT_GT(whole->steps_to_alarm(60), 0);
  for (const int64_t stop : {3, 65, 97}) {
    const auto first_run = make();
    const auto second_run = make();
    SimulatedRun& first = *first_run;
    SimulatedRun& second = *second_run;
    for (int64_t i = 0; i < stop; ++i) first.step(clips[static_cast<size_t>(i)]);
    second.callback.load_state_dict(first.callback.state_dict(), second.state);
    second.state.step = stop;
    for (size_t i = static_cast<size_t>(stop); i < clips.size(); ++i) second.step(clips[i]);
    expect_same_log(*whole, second, stop);
  }
}

TEST_F(DistillationHealthTest, ComparesLossesAndMeasuresUpdates) {
  SimulatedRun run;
  // The critic's target noise - clean has the mean square 1 + that of the clean latents.
  run.steps(10, both([](const at::Tensor& clip) { return at::ones_like(clip); }));
  EXPECT_NEAR(run.logged("critic_error"), 0.2 / 2.0, 1e-6);
  EXPECT_NEAR(run.logged("generator_to_critic_loss"), 0.5 / 0.2, 1e-6);
  EXPECT_NEAR(run.logged("mean"), 1.0, 1e-6);
  EXPECT_NEAR(run.logged("dmd_gradient_norm"), std::sqrt(kNumFrames * 4 * 64), 2.0);

  // A whole optimizer step of the fake model, as the trainer makes it.
  SimulatedRun updated;
  RoleOptimizer& optimizer = *updated.method.role_optimizers().front();
  const at::Tensor& weights = optimizer.model().parameters().groups()[0].flat_master;
  optimizer.model().parameters().groups()[0].flat_gradient.fill_(1.0);
  const at::Tensor before = weights.clone();
  std::vector<OptimizerUpdate> updates = {{&optimizer, 1.0, 1.0}};
  updated.callback.on_before_optimizer_step(updated.state, updates);
  optimizer.step(1.0);
  updated.steps(1);
  const auto& first = updated.tracker.values.at(1);
  EXPECT_NEAR(first.at("health/update_to_weight/student"),
              ((weights - before).norm() / before.norm()).item<double>(), 1e-6);
  EXPECT_EQ(first.at("health/vanished_in_bf16/student"), 0.0);
}

TEST_F(DistillationHealthTest, ReportsUpdatesThatChangeNothing) {
  SimulatedRun run;
  run.state.step = 300;
  RoleOptimizer& optimizer = *run.method.role_optimizers().front();
  std::vector<OptimizerUpdate> updates = {{&optimizer, 1.0, 1.0}};
  testing::internal::CaptureStderr();
  for (int i = 0; i < 30; ++i) {
    run.callback.on_before_optimizer_step(run.state, updates);  // and no step follows
    run.steps(1);
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("the weights of the student stay"));
  EXPECT_EQ(run.steps_to_alarm(300), 30);
}

TEST(UpdateProbe, CountsUpdatesThatVanishInBf16) {
  // 300000 weights, so that a part of them stands for all.
  ParameterStore store({{"root", {{"w", {300000}}}}}, {at::kCPU, at::kFloat, true});
  store.load({{"w", at::ones({300000})}});
  const UpdateProbe probe(store);
  // A change by 1/1000 is lost beside 1 (bf16 has steps of 1/128 there), one by 1/50 is not.
  at::Tensor weights = store.groups()[0].flat_master;
  weights.view({-1, 4}).select(1, 0).add_(1e-3);
  weights.view({-1, 4}).select(1, 1).add_(2e-2);
  const at::Tensor measured = probe.measure();
  const double changed = std::sqrt((1e-3 * 1e-3 + 2e-2 * 2e-2) / 4.0);
  EXPECT_NEAR(measured[0].item<double>(), changed, 0.02 * changed);
  EXPECT_NEAR(measured[1].item<double>(), 0.5, 0.02);
}

TEST(LatentStatistics, AgreeWithTheirDefinitions) {
  const at::Tensor clips = at::randn({2, 4, 3, 5, 6}) + at::arange(3).view({1, 1, 3, 1, 1});
  const at::Tensor values = latent_statistics(clips).to(at::kDouble);
  const LatentSummary summary = summarize(
      {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()});
  EXPECT_NEAR(summary.mean, clips.mean().item<double>(), 1e-5);
  EXPECT_NEAR(summary.variance, clips.var(false).item<double>(), 1e-5);
  double motion = 0.0;
  for (int64_t t = 2; t < 4; ++t)  // the first latent frame stands apart
    motion += (clips.select(1, t) - clips.select(1, t - 1)).abs().mean().item<double>() / 2.0;
  EXPECT_NEAR(summary.motion, motion, 1e-5);
  ASSERT_EQ(summary.channel_means.size(), 3U);
  for (int64_t c = 0; c < 3; ++c) {
    const auto index = static_cast<size_t>(c);
    EXPECT_NEAR(summary.channel_means[index], clips.select(2, c).mean().item<double>(), 1e-5);
    EXPECT_NEAR(summary.channel_spreads[index], clips.select(2, c).std(false).item<double>(), 1e-5);
  }
  const LatentSummary solid = summarize([] {
    const at::Tensor of_solid = latent_statistics(at::ones({1, 3, 2, 4, 4})).to(at::kDouble);
    return std::vector<double>(of_solid.const_data_ptr<double>(),
                               of_solid.const_data_ptr<double>() + of_solid.numel());
  }());
  EXPECT_EQ(solid.contrast, 0.0);
  EXPECT_EQ(solid.motion, 0.0);
}

TEST(RecentLatents, AverageTheDistancesOfTheLastClips) {
  RecentLatents clips;
  EXPECT_FALSE(clips.mean_distance().defined());
  for (int i = 0; i < 20; ++i) clips.add(at::full({1, 2, 3, 4, 5}, static_cast<double>(i)));
  // Eight clips 12 ... 19: the mean difference of two of eight neighbours is (8 + 1) / 3.
  EXPECT_NEAR(clips.mean_distance().item<double>(), 3.0, 1e-5);
  EXPECT_EQ(clips.rows().size(0), 8);
  clips.add(at::zeros({9, 1, 200, 50, 50}));
  EXPECT_LE(clips.rows().size(1), 65536);
}

}  // namespace
}  // namespace zoetrope
