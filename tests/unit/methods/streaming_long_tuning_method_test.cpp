#include "zoetrope/methods/distribution_matching/streaming_long_tuning_method.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/fake_causal_model.h"
#include "support/method_inputs.h"

namespace zoetrope {
namespace {

using test::FakeCausalModel;
using test::FakeModel;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kNumFrames = 6;
constexpr int64_t kPixelFrames = 4 * (kNumFrames - 1) + 1;

/// Gives every batch conditions by frame: given frames 0, 1, ... and keys 0, 1, ...
void add_conditions(TrainingBatch& batch) {
  const int64_t num_rows = batch.batch_size();
  const at::Tensor frames = at::arange(kNumFrames, at::kFloat).view({1, kNumFrames, 1, 1, 1});
  const at::Tensor keys = at::arange(kPixelFrames, at::kFloat).view({1, kPixelFrames, 1});
  batch.conditional.image_latents_BTCHW = frames.expand({num_rows, kNumFrames, 20, 2, 2});
  batch.conditional.keyboard_BFK = keys.expand({num_rows, kPixelFrames, 4});
  batch.conditional.mouse_BF2 = -keys.expand({num_rows, kPixelFrames, 2});
}

class Student : public FakeCausalModel {
 public:
  using FakeCausalModel::FakeCausalModel;
  TrainingBatch prepare_batch(const Batch& raw, LatentsSource source) override {
    ++num_prepared;
    TrainingBatch batch = FakeCausalModel::prepare_batch(raw, source);
    add_conditions(batch);
    return batch;
  }
  const std::filesystem::path& pipeline_folder() const override { return folder; }
  std::filesystem::path folder = "fake";
  int num_prepared = 0;
};

/// Notes what it is asked.
class Scorer : public FakeModel {
 public:
  using FakeModel::FakeModel;
  at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                           const Conditioning& conditioning) override {
    seen.push_back(conditioning);
    timesteps.push_back(timestep);
    num_frames.push_back(noisy_BTCHW.size(1));
    return FakeModel::predict_noise(noisy_BTCHW, timestep, conditioning);
  }
  std::vector<Conditioning> seen;
  std::vector<at::Tensor> timesteps;
  std::vector<int64_t> num_frames;
};

/// A stage of whole clips of 3 frames in step 1, then streaming: windows of 3, overlap 1, up to 6.
StreamingLongTuningConfig make_config() {
  StreamingLongTuningConfig config;
  config.rollout_mode = "simulate";
  config.dmd_denoising_steps = {1000, 500};
  config.fake_score_learning_rate = 0.1;
  config.fake_score_lr_scheduler = "constant";
  config.chunk_size = 1;
  config.streaming_chunk_size = 3;
  config.streaming_fixed_overlap_latents = 1;
  config.streaming_reencode_overlap_anchor = false;
  DistillStageConfig short_stage;
  short_stage.end_step = 2;
  short_stage.num_latent_t = 3;
  DistillStageConfig long_stage;
  long_stage.stage = "streaming_long";
  long_stage.num_latent_t = kNumFrames;
  config.multi_phased_distill_schedule.entries = {short_stage, long_stage};
  return config;
}

StreamingLongTuningConfig streaming_config() {
  StreamingLongTuningConfig config = make_config();
  config.multi_phased_distill_schedule.entries.clear();
  return config;
}

class StreamingLongTuning : public testing::Test {
 protected:
  std::unique_ptr<StreamingLongTuningMethod> make(const StreamingLongTuningConfig& config,
                                                  const std::filesystem::path& folder = "fake") {
    MethodContext context;
    auto student = std::make_unique<Student>(random_, config.chunk_size);
    student->folder = folder;
    context.roles.add("student", std::move(student));
    context.roles.add("teacher", make_scorer(false, 0.75));
    context.roles.add("critic", make_scorer(true, 0.25));
    context.optimizer.learning_rate = 0.1;
    context.max_train_steps = 10;
    context.flow_shift = 3.0;
    context.num_latent_frames = kNumFrames;
    context.random = &random_;
    auto method = std::make_unique<StreamingLongTuningMethod>(config, std::move(context));
    method->on_train_start();
    return method;
  }
  /// Teacher and critic differ, or there would be no gradient.
  std::unique_ptr<Scorer> make_scorer(bool trainable, double scale) {
    auto scorer = std::make_unique<Scorer>(random_, trainable);
    scorer->parameters().load({{"scale", at::full({1}, scale)}, {"offset", at::full({1}, 0.25)}});
    return scorer;
  }
  static Batch make_batch(int64_t first_sample, int64_t batch_size = 1) {
    Batch batch = test::make_latent_batch(batch_size, kNumFrames);
    for (int64_t& sample : batch.sample_indices) sample += first_sample;
    return batch;
  }
  /// One step on a batch of its own.
  static StepOutput step(StreamingLongTuningMethod& method, int64_t index, int64_t batch_size = 1) {
    return method.single_train_step(make_batch(batch_size * index, batch_size), {index});
  }
  static double metric(const StepOutput& output, const std::string& name) {
    for (const auto& [key, value] : output.metrics) {
      if (key == name) return value;
    }
    ADD_FAILURE() << "no metric " << name;
    return 0.0;
  }
  static at::Tensor tensor(const StepOutput& output, const std::string& name) {
    for (const auto& [key, value] : output.tensors) {
      if (key == name) return value;
    }
    return {};
  }
  template <class Model = Scorer>
  static Model& model(const TrainingMethod& method, const std::string& role) {
    for (const auto& [name, found] : method.roles().all()) {
      if (name == role) return dynamic_cast<Model&>(*found);
    }
    throw std::runtime_error("no role " + role);
  }

  KeyedRandomSource random_{5};
};

TEST_F(StreamingLongTuning, GeneratesWindowAfterWindowAndThenANewClip) {
  const auto method = make(make_config());
  const StepOutput whole = step(*method, 1);
  EXPECT_EQ(metric(whole, "distill_stage_index"), 0.0);
  EXPECT_EQ(metric(whole, "active_num_latent_t"), 3.0);
  EXPECT_EQ(tensor(whole, "generated_latents").size(1), 3);
  EXPECT_FALSE(tensor(whole, "streaming_chunk_mask").defined());
  const std::vector<double> lengths = {3, 5, 6, 3};
  const std::vector<int64_t> num_new = {3, 2, 1, 3};
  for (size_t i = 0; i < lengths.size(); ++i) {
    const StepOutput output = step(*method, static_cast<int64_t>(i) + 2);
    EXPECT_EQ(metric(output, "distill_stage_index"), 1.0);
    EXPECT_EQ(metric(output, "streaming_current_length"), lengths[i]) << i;
    EXPECT_EQ(metric(output, "streaming_max_length"), 6.0);
    EXPECT_EQ(metric(output, "update_student"), 1.0);
    const at::Tensor mask = tensor(output, "streaming_chunk_mask");
    EXPECT_EQ(mask.scalar_type(), at::kBool);
    EXPECT_EQ(mask.sizes(), at::IntArrayRef({1, 3, 1, 1, 1}));
    EXPECT_EQ(mask.sum().item<int64_t>(), num_new[i]) << i;
    EXPECT_TRUE(mask.select(1, 2).all().item<bool>()) << "the new frames come last";
    EXPECT_EQ(tensor(output, "generated_latents").size(1), 3);
  }
  EXPECT_EQ(model<Student>(*method, "student").num_prepared, 3)
      << "one clip in the first stage, two begun in the second";
}

TEST_F(StreamingLongTuning, WindowsShareTheFramesOfTheirOverlap) {
  const auto method = make(streaming_config());
  const at::Tensor first = tensor(step(*method, 1), "generated_latents");
  const at::Tensor second = tensor(step(*method, 2), "generated_latents");
  const at::Tensor third = tensor(step(*method, 3), "generated_latents");
  EXPECT_TRUE(at::equal(second.narrow(1, 0, 1), first.narrow(1, 2, 1)));
  // One frame was left, so two are old.
  EXPECT_TRUE(at::equal(third.narrow(1, 0, 2), second.narrow(1, 1, 2)));
}

TEST_F(StreamingLongTuning, TheFirstLatentOfALaterWindowIsMadeAnewByTheVae) {
  StreamingLongTuningConfig config = streaming_config();
  config.streaming_fixed_overlap_latents = 2;
  const std::filesystem::path folder(ZOETROPE_SOURCE_DIR "/assets/tiny-wan");
  Batch batch = make_batch(0);
  batch.vae_latent_BCTHW = at::zeros({1, 16, kNumFrames, 2, 2});
  std::vector<std::vector<at::Tensor>> windows;
  for (const bool anchored : {false, true}) {
    config.streaming_reencode_overlap_anchor = anchored;
    const auto method = make(config, folder);
    auto& generated = windows.emplace_back();
    for (const int64_t index : {1, 2})
      generated.push_back(tensor(method->single_train_step(batch, {index}), "generated_latents"));
  }
  EXPECT_TRUE(at::equal(windows[0][0], windows[1][0])) << "a clip's own first frame";
  const OverlapAnchor anchor(folder / "vae", at::kCPU, 1);
  EXPECT_TRUE(at::equal(windows[1][1].narrow(1, 0, 2), anchor.reencode(windows[0][0], 2)));
  EXPECT_TRUE(at::equal(windows[1][1].narrow(1, 1, 2), windows[0][1].narrow(1, 1, 2)));
  EXPECT_FALSE(at::allclose(windows[1][1].select(1, 0), windows[0][1].select(1, 0), 0.05, 0.05));
}

TEST_F(StreamingLongTuning, ReadsTheVaeBeforeTheFirstStepAndOnlyToStream) {
  StreamingLongTuningConfig config = streaming_config();
  config.streaming_reencode_overlap_anchor = true;
  EXPECT_THAT(test::error_of([&] { make(config); }), HasSubstr("fake/vae"));
  config.multi_phased_distill_schedule.entries.resize(1);
  EXPECT_NO_THROW(make(config)) << "whole clips need none";
}

TEST_F(StreamingLongTuning, LearnsFromTheNewFramesAlone) {
  const auto method = make(streaming_config());
  step(*method, 1);
  const StepOutput output = step(*method, 2);
  ASSERT_EQ(output.losses[1].first, "generator_loss");
  const at::Tensor gradient = tensor(output, "dmd_gradient").narrow(1, 1, 2);
  EXPECT_GT(gradient.abs().mean().item<double>(), 0.1);
  EXPECT_NEAR(output.losses[1].second.item<double>(), 0.5 * gradient.square().mean().item<double>(),
              1e-5);
  EXPECT_EQ(model(*method, "critic").num_frames.back(), 3);
  EXPECT_EQ(model(*method, "teacher").num_frames.back(), 3);
}

TEST_F(StreamingLongTuning, TeacherAndCriticSeeTheConditionsOfTheWindow) {
  const auto method = make(streaming_config());
  for (const int64_t first : {0, 2, 3}) {
    step(*method, first + 1);
    for (const char* role : {"teacher", "critic"}) {
      const Conditioning& seen = model(*method, role).seen.back();
      EXPECT_EQ(seen.image_latents_BTCHW.size(1), 3);
      EXPECT_EQ(seen.image_latents_BTCHW[0][0][0][0][0].item<int64_t>(), first) << role;
      EXPECT_EQ(seen.keyboard_BFK.size(1), 9);
      EXPECT_EQ(seen.keyboard_BFK[0][0][0].item<int64_t>(), 4 * first) << role;
      EXPECT_EQ(seen.mouse_BF2[0][8][0].item<int64_t>(), -4 * (first + 2)) << role;
    }
  }
}

TEST_F(StreamingLongTuning, BlocksOfTheStudentFollowOneAnotherThroughTheWholeClip) {
  StreamingLongTuningConfig config = streaming_config();
  config.last_step_only = true;
  const auto method = make(config);
  for (int64_t index = 1; index <= 3; ++index) step(*method, index);
  std::vector<int64_t> denoised;
  std::vector<int64_t> stored;
  for (const FakeModel::Forward& forward : model<Student>(*method, "student").forwards) {
    if (forward.stores_context) {
      stored.push_back(forward.first_frame);
      EXPECT_FALSE(forward.with_grad);
      EXPECT_EQ(forward.timestep, 0.0);
    } else if (forward.with_grad) {
      denoised.push_back(forward.first_frame);
      EXPECT_EQ(forward.timestep, 500.0);
    }
  }
  EXPECT_THAT(denoised, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(stored, ElementsAre(0, 1, 2, 3, 4)) << "nothing comes after the last";
  // Six blocks of two steps, five of which are stored; no window is generated twice.
  EXPECT_EQ(model<Student>(*method, "student").num_forwards, 6 * 2 + 5);
  EXPECT_EQ(model(*method, "teacher").num_forwards, 3);
  EXPECT_EQ(model(*method, "critic").num_forwards, 3 * 2);
}

TEST_F(StreamingLongTuning, EverySampleHasItsOwnTimestepAndLoss) {
  StreamingLongTuningConfig config = streaming_config();
  config.min_timestep_ratio = 0.02;
  config.max_timestep_ratio = 0.98;
  const auto both = make(config);
  std::vector<at::Tensor> singles;
  std::vector<at::Tensor> losses;
  for (const int64_t sample : {0, 1}) {
    const auto alone = make(config);
    for (int64_t index = 1; index <= 2; ++index) {
      const StepOutput output = alone->single_train_step(make_batch(sample), {index});
      if (index == 2) {
        singles.push_back(tensor(output, "dmd_gradient"));
        losses.push_back(at::stack({output.losses[1].second, output.losses[2].second}));
      }
    }
  }
  both->single_train_step(make_batch(0, 2), {1});
  const StepOutput output = both->single_train_step(make_batch(0, 2), {2});
  EXPECT_TRUE(at::allclose(tensor(output, "dmd_gradient"), at::cat(singles), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(at::stack({output.losses[1].second, output.losses[2].second}),
                           (losses[0] + losses[1]) / 2, 1e-5, 1e-6));
  std::set<double> drawn;
  for (const at::Tensor& timestep_B : model(*both, "critic").timesteps) {
    ASSERT_EQ(timestep_B.sizes(), at::IntArrayRef({2}));
    for (const int64_t row : {0, 1}) {
      const auto timestep = timestep_B[row].item<double>();
      EXPECT_GE(timestep, 20.0);
      EXPECT_LE(timestep, 980.0);
      drawn.insert(timestep);
    }
  }
  EXPECT_GT(drawn.size(), 4U);
}

// Two rounds of one step are two windows, and its gradient is the mean of theirs.
TEST_F(StreamingLongTuning, RoundsOfAccumulationAreWindowsOfTheSameClips) {
  const auto gradient = [](TrainingMethod& method) {
    return method.student().parameters().groups()[0].flat_gradient.clone();
  };
  const auto one_by_one = make(streaming_config());
  at::Tensor sum;
  std::vector<at::Tensor> windows;
  for (int64_t index = 1; index <= 2; ++index) {
    one_by_one->student().parameters().zero_gradients();
    // Of the same step, whose rounds decide alike.
    const StepOutput output = one_by_one->single_train_step(make_batch(index), {1});
    one_by_one->backward(output, 1);
    sum = sum.defined() ? sum + gradient(*one_by_one) : gradient(*one_by_one);
    windows.push_back(tensor(output, "generated_latents"));
  }
  const auto accumulated = make(streaming_config());
  for (int64_t round = 0; round < 2; ++round) {
    const StepOutput output = accumulated->single_train_step(make_batch(round + 1), {1, round, 2});
    accumulated->backward(output, 2);
    EXPECT_TRUE(
        at::equal(tensor(output, "generated_latents"), windows[static_cast<size_t>(round)]));
    EXPECT_EQ(metric(output, "streaming_current_length"), round == 0 ? 3.0 : 5.0);
  }
  EXPECT_TRUE(at::allclose(gradient(*accumulated), sum / 2, 1e-5, 1e-6));
}

TEST_F(StreamingLongTuning, DrawsTheNumberOfNewFramesWhereTheOverlapIsOpen) {
  StreamingLongTuningConfig config = streaming_config();
  config.streaming_fixed_overlap_latents.reset();
  config.streaming_min_new_frame = 1;
  const auto method = make(config);
  std::set<int64_t> counts;
  double length = 0;
  for (int64_t index = 1; index <= 20; ++index) {
    const StepOutput output = step(*method, index);
    const int64_t num_new = tensor(output, "streaming_chunk_mask").sum().item<int64_t>();
    length = (length == 6.0 ? 0.0 : length) + static_cast<double>(num_new);
    EXPECT_EQ(metric(output, "streaming_current_length"), length) << index;
    counts.insert(num_new);
  }
  EXPECT_THAT(counts, ElementsAre(1, 2, 3));
}

TEST_F(StreamingLongTuning, TheUnguidedTeacherHasOneConditioning) {
  StreamingLongTuningConfig config = streaming_config();
  config.real_score_guidance_scale = 4.0;
  const auto guided = make(config);
  step(*guided, 1);
  EXPECT_EQ(model(*guided, "teacher").forwards[0].num_rows, 2);
  config.real_score_cfg = false;
  const auto unguided = make(config);
  step(*unguided, 1);
  EXPECT_EQ(model(*unguided, "teacher").forwards[0].num_rows, 1);
  EXPECT_FALSE(model<Student>(*unguided, "student").has_negative_prompt);
}

TEST_F(StreamingLongTuning, GoesOnFromItsState) {
  for (const int64_t stop : {1, 2, 3}) {
    const auto whole = make(streaming_config());
    for (int64_t index = 1; index <= stop; ++index) step(*whole, index, 2);
    const StateDict state = whole->state_dict();
    EXPECT_EQ(state.empty(), stop == 3) << "a clip that is finished needs none";
    const auto resumed = make(streaming_config());
    if (!state.empty()) resumed->load_state_dict(state);
    for (int64_t index = stop + 1; index <= stop + 3; ++index) {
      const StepOutput expected = step(*whole, index, 2);
      const StepOutput output = step(*resumed, index, 2);
      for (size_t i = 0; i < expected.losses.size(); ++i) {
        EXPECT_TRUE(at::equal(output.losses[i].second, expected.losses[i].second))
            << stop << " " << index << " " << expected.losses[i].first;
      }
    }
  }
}

// Whoever asks for the state may write it while the next step runs.
TEST_F(StreamingLongTuning, ItsStateDoesNotChangeInTheNextStep) {
  const auto method = make(streaming_config());
  step(*method, 1);
  const StateDict state = method->state_dict();
  std::vector<at::Tensor> before;
  for (const auto& [name, tensor] : state.tensors) before.push_back(tensor.clone());
  step(*method, 2);
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_TRUE(at::equal(state.tensors[i].second, before[i])) << state.tensors[i].first;
}

TEST_F(StreamingLongTuning, BeginsNewClipsWhenTheScheduleHasChanged) {
  const auto method = make(streaming_config());
  step(*method, 1);
  StreamingLongTuningConfig shorter = streaming_config();
  shorter.streaming_max_length = 4;
  const auto other = make(shorter);
  other->load_state_dict(method->state_dict());
  EXPECT_EQ(metric(step(*other, 2), "streaming_current_length"), 3.0);
}

TEST_F(StreamingLongTuning, RefusesStagesThatDoNotFit) {
  StreamingLongTuningConfig config = streaming_config();
  config.streaming_max_length = kNumFrames + 1;
  EXPECT_THAT(test::error_of([&] { make(config); }),
              HasSubstr("at most training.data.num_latent_t = 6 latent frames"));
}

}  // namespace
}  // namespace zoetrope
