#include "zoetrope/methods/distribution_matching/self_forcing_method.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/config_faults.h"
#include "support/error_text.h"
#include "support/fake_causal_model.h"
#include "support/method_inputs.h"

namespace zoetrope {
namespace {

using test::FakeCausalModel;
using test::FakeModel;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kFramesPerBlock = 2;
constexpr int64_t kNumFrames = 6;
constexpr int64_t kNumBlocks = 3;

SelfForcingConfig make_config() {
  SelfForcingConfig config;
  config.rollout_mode = "simulate";
  config.dmd_denoising_steps = {1000, 750, 500, 250};
  config.real_score_guidance_scale = 3.0;
  config.fake_score_learning_rate = 0.1;
  config.fake_score_lr_scheduler = "constant";
  config.chunk_size = kFramesPerBlock;
  return config;
}

MethodContext make_context(RandomSource& random, std::unique_ptr<FakeModel> student) {
  MethodContext context;
  context.roles.add("student", std::move(student));
  context.roles.add("teacher", std::make_unique<FakeModel>(random, false));
  context.roles.add("critic", std::make_unique<FakeModel>(random));
  context.optimizer.learning_rate = 0.1;
  context.max_train_steps = 10;
  context.flow_shift = 3.0;
  context.random = &random;
  return context;
}

class SelfForcing : public testing::Test {
 protected:
  std::unique_ptr<SelfForcingMethod> make(const SelfForcingConfig& config) {
    auto method = std::make_unique<SelfForcingMethod>(
        config, make_context(random_, std::make_unique<FakeCausalModel>(random_, kFramesPerBlock)));
    method->on_train_start();
    return method;
  }
  static StepOutput step(SelfForcingMethod& method, int64_t index) {
    return method.single_train_step(test::make_latent_batch(2, kNumFrames), {index});
  }
  static const std::vector<FakeModel::Forward>& forwards(const TrainingMethod& method,
                                                         const std::string& role) {
    for (const auto& [name, model] : method.roles().all()) {
      if (name == role) return dynamic_cast<FakeModel&>(*model).forwards;
    }
    ADD_FAILURE() << "no role " << role;
    static const std::vector<FakeModel::Forward> none;
    return none;
  }
  /// Denoising forwards of the student's block that starts at `first_frame`, in order.
  static std::vector<FakeModel::Forward> block_forwards(const TrainingMethod& method,
                                                        int64_t first_frame) {
    std::vector<FakeModel::Forward> found;
    for (const FakeModel::Forward& forward : forwards(method, "student")) {
      if (forward.first_frame == first_frame && !forward.stores_context) found.push_back(forward);
    }
    return found;
  }
  /// The exit steps that the draws give to `num_draws` blocks.
  std::vector<int64_t> drawn_exits(const std::string& purpose, int64_t micro_step,
                                   int64_t num_draws) {
    const at::Tensor drawn =
        random_.integers({purpose + ".exit_step", {}, micro_step}, 0, 4, {num_draws});
    return {drawn.const_data_ptr<int64_t>(), drawn.const_data_ptr<int64_t>() + num_draws};
  }

  KeyedRandomSource random_{5};
};

// A block that ends at step j needs j + 1 forwards, and one more stores it for the blocks after it;
// the last block has none after it.
TEST_F(SelfForcing, CallsEachNetworkAsOftenAsTheAlgorithmNeeds) {
  for (const char* sample_type : {"sde", "ode"}) {
    for (const double context_noise : {0.0, 100.0}) {
      SelfForcingConfig config = make_config();
      config.student_sample_type = sample_type;
      config.context_noise = context_noise;
      config.generator_update_interval = 2;
      const auto method = make(config);
      size_t student_minimum = 0;
      for (int64_t index = 1; index <= 4; ++index) {
        const auto rollout = [&](const char* purpose) {
          for (const int64_t exit : drawn_exits(purpose, index - 1, kNumBlocks))
            student_minimum += static_cast<size_t>(exit) + 1;
          student_minimum += kNumBlocks - 1;
        };
        if (index % 2 == 0) rollout("self_forcing.student");
        rollout("self_forcing.critic");
        step(*method, index);
      }
      EXPECT_EQ(forwards(*method, "student").size(), student_minimum) << sample_type;
      EXPECT_EQ(forwards(*method, "teacher").size(), 2U) << "one for each update of the student";
      EXPECT_EQ(forwards(*method, "critic").size(), 2U + 4U) << "its score there, and its own loss";
    }
  }
}

TEST_F(SelfForcing, BatchesTheTeachersTwoConditionings) {
  const auto method = make(make_config());
  step(*method, 1);
  ASSERT_EQ(forwards(*method, "teacher").size(), 1U);
  EXPECT_EQ(forwards(*method, "teacher")[0].num_rows, 4);
  SelfForcingConfig unguided = make_config();
  unguided.real_score_guidance_scale = 1.0;
  const auto plain = make(unguided);
  step(*plain, 1);
  ASSERT_EQ(forwards(*plain, "teacher").size(), 1U);
  EXPECT_EQ(forwards(*plain, "teacher")[0].num_rows, 2);
}

// A graph exists for the last denoising forward of each block of the student's rollout, and for the
// critic's loss.
TEST_F(SelfForcing, BuildsGraphsOnlyWhereGradientFlows) {
  for (const int64_t start_gradient_frame : {0, 1, 4}) {
    SelfForcingConfig config = make_config();
    config.last_step_only = true;
    config.start_gradient_frame = start_gradient_frame;
    const auto method = make(config);
    step(*method, 1);
    for (int64_t first = 0; first < kNumFrames; first += kFramesPerBlock) {
      const std::vector<FakeModel::Forward> block = block_forwards(*method, first);
      ASSERT_EQ(block.size(), 8U) << "four for the student, four for the critic";
      for (size_t i = 0; i < block.size(); ++i)
        EXPECT_EQ(block[i].with_grad, i == 3 && first >= start_gradient_frame) << first << " " << i;
    }
    for (const FakeModel::Forward& forward : forwards(*method, "student"))
      EXPECT_FALSE(forward.stores_context && forward.with_grad);
    EXPECT_FALSE(forwards(*method, "teacher")[0].with_grad);
    EXPECT_FALSE(forwards(*method, "critic")[0].with_grad);
    EXPECT_TRUE(forwards(*method, "critic")[1].with_grad);
  }
}

TEST_F(SelfForcing, EachBlockEndsAtItsOwnDrawnStep) {
  SelfForcingConfig config = make_config();
  const auto method = make(config);
  std::set<size_t> lengths;
  for (int64_t index = 1; index <= 6; ++index) {
    const size_t before = block_forwards(*method, 2).size();
    step(*method, index);
    const size_t expected =
        static_cast<size_t>(drawn_exits("self_forcing.student", index - 1, kNumBlocks)[1] +
                            drawn_exits("self_forcing.critic", index - 1, kNumBlocks)[1]) +
        2;
    EXPECT_EQ(block_forwards(*method, 2).size() - before, expected) << index;
    lengths.insert(expected);
  }
  EXPECT_GT(lengths.size(), 1U);
}

TEST_F(SelfForcing, SameStepAcrossBlocksAndLastStepOnly) {
  SelfForcingConfig same = make_config();
  same.same_step_across_blocks = true;
  const auto method = make(same);
  step(*method, 1);
  for (const int64_t first : {0, 2, 4}) {
    EXPECT_EQ(static_cast<int64_t>(block_forwards(*method, first).size()),
              drawn_exits("self_forcing.student", 0, 1)[0] +
                  drawn_exits("self_forcing.critic", 0, 1)[0] + 2);
  }
  SelfForcingConfig last = make_config();
  last.last_step_only = true;
  const auto to_the_end = make(last);
  step(*to_the_end, 1);
  for (const int64_t first : {0, 2, 4}) {
    const std::vector<FakeModel::Forward> block = block_forwards(*to_the_end, first);
    ASSERT_EQ(block.size(), 8U);
    EXPECT_EQ(block[3].timestep, 250.0);
  }
}

TEST_F(SelfForcing, ComparesScoresWithinTheTimestepRange) {
  SelfForcingConfig config = make_config();
  config.min_timestep_ratio = 0.4;
  config.max_timestep_ratio = 0.5;
  const auto method = make(config);
  std::set<double> drawn;
  for (int64_t index = 1; index <= 8; ++index) {
    Batch batch = test::make_latent_batch(1, kNumFrames);
    batch.sample_indices = {index};
    method->single_train_step(batch, {index});
  }
  for (const char* role : {"teacher", "critic"}) {
    for (const FakeModel::Forward& forward : forwards(*method, role)) {
      EXPECT_GE(forward.timestep, 400.0) << role;
      EXPECT_LE(forward.timestep, 500.0) << role;
      drawn.insert(forward.timestep);
    }
  }
  EXPECT_GT(drawn.size(), 1U);
}

TEST_F(SelfForcing, LaterBlocksSeeEarlierOnesAndCachesAreEmptyAfterwards) {
  SelfForcingConfig config = make_config();
  config.dmd_denoising_steps = {1000};
  const auto method = make(config);
  const StepOutput output = step(*method, 1);
  auto& student = dynamic_cast<FakeCausalModel&>(method->student());
  EXPECT_TRUE(student.contexts.empty());
  // clean = noise - velocity at sigma 1; velocity = noise / 2 + 1/4 + context / 8.
  const at::Tensor noise =
      random_.normal({"self_forcing.student.noise", {10, 11}}, {2, kNumFrames, 2, 2, 2});
  const at::Tensor& clip = output.tensors[0].second;
  ASSERT_EQ(output.tensors[0].first, "generated_latents");
  at::Tensor context = at::zeros({});
  for (int64_t first = 0; first < kNumFrames; first += kFramesPerBlock) {
    const at::Tensor expected = 0.5 * noise.narrow(1, first, kFramesPerBlock) - 0.25 -
                                FakeCausalModel::kContextShare * context;
    EXPECT_TRUE(at::allclose(clip.narrow(1, first, kFramesPerBlock), expected, 1e-5, 1e-6))
        << first;
    context = expected.mean({1, 2, 3, 4}, true);
  }
}

TEST_F(SelfForcing, RefusesABidirectionalStudent) {
  EXPECT_THAT(test::error_of([&] {
                SelfForcingMethod(make_config(),
                                  make_context(random_, std::make_unique<FakeModel>(random_)));
              }),
              HasSubstr("models.student: self-forcing needs a causal model, but this one is "
                        "bidirectional; use WanCausalModel"));
}

TEST_F(SelfForcing, RefusesAChunkThatIsNotABlock) {
  SelfForcingConfig config = make_config();
  config.chunk_size = 3;
  EXPECT_THAT(test::error_of([&] { make(config); }),
              HasSubstr("method.chunk_size: must be the student's num_frames_per_block, which is "
                        "2, but got 3"));
}

std::vector<std::string> faults(const std::string& keys,
                                const config::RunFacts& run = {.num_latent_frames = 12}) {
  return test::config_faults<SelfForcingConfig>(
      "dmd_denoising_steps: [1000]\nfake_score_learning_rate: 1\nfake_score_betas: [0, "
      "0.9]\nfake_score_lr_scheduler: constant\n" +
          keys,
      run);
}

TEST(SelfForcingConfig, RefusesOtherRolloutModes) {
  EXPECT_THAT(faults("rollout_mode: simulate"), IsEmpty());
  EXPECT_THAT(faults("rollout_mode: data_latent"),
              ElementsAre(HasSubstr("rollout_mode must be simulate for self-forcing, but got "
                                    "data_latent")));
}

TEST(SelfForcingConfig, RefusesRolloutsWithoutGradient) {
  const std::string mode = "rollout_mode: simulate\n";
  EXPECT_THAT(faults(mode + "enable_gradient_in_rollout: false"),
              ElementsAre("f:6: method.enable_gradient_in_rollout: must be true, since without it "
                          "the student has nothing to learn from, but got false"));
  // Blocks of 4, 3, 3 and 3 frames: the last one begins with frame 10.
  const config::RunFacts clips{.num_latent_frames = 13};
  EXPECT_THAT(faults(mode + "start_gradient_frame: 10", clips), IsEmpty());
  EXPECT_THAT(faults(mode + "start_gradient_frame: 11", clips),
              ElementsAre("f:6: method.start_gradient_frame: must be at most 10, with which the "
                          "last block of clips of 13 latent frames begins, since no other has a "
                          "gradient, but got 11"));
  // One block of five.
  EXPECT_THAT(faults(mode + "start_gradient_frame: 1", {.num_latent_frames = 5}),
              ElementsAre(HasSubstr("must be at most 0, ")));
}

TEST(SelfForcingConfig, RefusesAChunkThatIsNotAStatedBlock) {
  const std::string mode = "rollout_mode: simulate\n";
  const auto blocks_of = [](int64_t num_frames) {
    return config::RunFacts{.num_latent_frames = 12,
                            .frames_per_block = {{"critic", 7}, {"student", num_frames}}};
  };
  EXPECT_THAT(faults(mode, blocks_of(3)), IsEmpty());
  EXPECT_THAT(faults(mode + "chunk_size: 1", blocks_of(1)), IsEmpty());
  EXPECT_THAT(faults(mode + "chunk_size: 2", blocks_of(1)),
              ElementsAre("f:6: method.chunk_size: must be the student's num_frames_per_block, "
                          "which is 1, but got 2"));
  EXPECT_THAT(faults(mode, blocks_of(1)), ElementsAre(HasSubstr("which is 1, but got 3")))
      << "the default";
}

TEST(SelfForcingConfig, ListsAllFaultsAtOnce) {
  EXPECT_THAT(
      faults("rollout_mode: simulate\nchunk_size: 2\nstart_gradient_frame: 12\n"
             "enable_gradient_in_rollout: false\nmin_timestep_ratio: 0.9\nmax_timestep_ratio: 0.1",
             {.num_latent_frames = 12, .frames_per_block = {{"student", 3}}}),
      ElementsAre(HasSubstr("f:6: method.chunk_size"),
                  HasSubstr("f:7: method.start_gradient_frame"),
                  HasSubstr("f:8: method.enable_gradient_in_rollout"),
                  HasSubstr("f:9: method.min_timestep_ratio")));
}

}  // namespace
}  // namespace zoetrope
