#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/fake_model.h"
#include "support/golden.h"
#include "support/ranks.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/config/node.h"
#include "zoetrope/methods/knowledge_distillation/causal_knowledge_distillation_method.h"
#include "zoetrope/methods/knowledge_distillation/teacher_sampler.h"
#include "zoetrope/models/causal_model.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::FakeModel;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kShift = 3.0;
constexpr double kGuidance = 3.5;

/// Its velocity also has the mean of the text, so that conditions differ.
class TextModel : public FakeModel {
 public:
  TextModel(RandomSource& random, bool trainable, int64_t* num_rows_seen = nullptr)
      : FakeModel(random, trainable), num_rows_seen_(num_rows_seen) {}

  TrainingBatch prepare_batch(const Batch& raw, LatentsSource source) override {
    TrainingBatch batch = FakeModel::prepare_batch(raw, source);
    batch.conditional.text_embedding_BLD = raw.text_embedding_BLD;
    if (has_negative_prompt)
      batch.unconditional.text_embedding_BLD = at::full_like(raw.text_embedding_BLD, 0.125);
    for (const SampleInfo& info : raw.info) batch.sample_names.push_back(info.id);
    return batch;
  }
  at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                           const Conditioning& conditioning) override {
    if (num_rows_seen_ != nullptr) *num_rows_seen_ += noisy_BTCHW.size(0);
    const at::Tensor text_B = conditioning.text_embedding_BLD.flatten(1).mean(1);
    return FakeModel::predict_noise(noisy_BTCHW, timestep, conditioning) +
           text_B.view({-1, 1, 1, 1, 1});
  }

 private:
  int64_t* num_rows_seen_;
};

/// Blocks of two frames; notes what it was asked last.
class CausalTextModel : public TextModel, public CausalModelBase {
 public:
  explicit CausalTextModel(RandomSource& random) : TextModel(random, true) {}

  int64_t num_frames_per_block() const override { return 2; }
  void clear_caches(const std::string& /*cache_tag*/) override {}
  StateDict cache_state(const std::string& /*cache_tag*/) const override { return {}; }
  void load_cache_state(const std::string& /*cache_tag*/, const StateDict& /*state*/,
                        const Conditioning& /*conditioning*/) override {}
  at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                           const Conditioning& conditioning) override {
    timestep_BT = timestep;
    asked_BTCHW = noisy_BTCHW;
    return TextModel::predict_noise(noisy_BTCHW, timestep, conditioning);
  }
  at::Tensor predict_noise_streaming(const at::Tensor&, const at::Tensor&, const Conditioning&,
                                     const StreamingOptions&) override {
    return {};
  }
  at::Tensor predict_x0_streaming(const at::Tensor&, const at::Tensor&, const Conditioning&,
                                  const StreamingOptions&) override {
    return {};
  }
  at::Tensor predict_noise_teacher_forced(const at::Tensor&, const at::Tensor&, const Conditioning&,
                                          const at::Tensor&) override {
    return {};
  }
  StreamingNetwork streaming_network(int64_t /*num_frames*/) override { return {}; }

  at::Tensor timestep_BT;
  at::Tensor asked_BTCHW;
};

class KnowledgeDistillation : public testing::Test {
 protected:
  KnowledgeDistillation()
      : dataset_({{std::string(ZOETROPE_SOURCE_DIR) + "/tests/golden/reference/_data/t2v", 1}},
                 parquet_schema("t2v")) {
    config_.teacher_path_cache = (folder_ / "cache").string();
    config_.teacher_inference_steps = 4;
    config_.teacher_guidance_scale = kGuidance;
    config_.t_list = {1000, 750, 0};
  }

  MethodContext make_context(bool with_teacher = true, double teacher_offset = 0.25) {
    return make_context(std::make_unique<TextModel>(random_, true), with_teacher, teacher_offset);
  }
  MethodContext make_context(std::unique_ptr<ModelBase> student, bool with_teacher,
                             double teacher_offset) {
    MethodContext context;
    context.roles.add("student", std::move(student));
    if (with_teacher) {
      auto teacher = std::make_unique<TextModel>(random_, false, &num_teacher_rows_);
      teacher->parameters().load(
          {{"scale", at::full({1}, 0.5)}, {"offset", at::full({1}, teacher_offset)}});
      context.roles.add("teacher", std::move(teacher));
    }
    context.optimizer.learning_rate = 0.1;
    context.max_train_steps = 10;
    context.flow_shift = kShift;
    context.random = &random_;
    return context;
  }
  /// The cache that a method has made.
  TrajectoryCache cache() const {
    TrajectoryRecipe recipe;
    recipe.num_steps = config_.teacher_inference_steps;
    recipe.guidance_scale = config_.teacher_guidance_scale;
    recipe.flow_shift = kShift;
    recipe.num_rows = dataset_.num_rows();
    return {config_.teacher_path_cache, recipe};
  }
  RowReader rows() const { return {dataset_, {}}; }
  /// The message of prepare_data with `config` on a fresh method.
  std::string prepare_error(const KnowledgeDistillationConfig& config, MethodContext context) {
    return error_of([&] {
      KnowledgeDistillationMethod method(config, std::move(context));
      method.prepare_data(rows(), Mesh());
    });
  }
  fs::path sample(int64_t row) const {
    return folder_ / "cache" / "samples" / fmt::format("{:08d}.pt", row);
  }

  test::TemporaryFolder folder_;
  KeyedRandomSource random_{5};
  ParquetDataset dataset_;
  KnowledgeDistillationConfig config_;
  int64_t num_teacher_rows_ = 0;
};

at::Tensor to_bf16(const at::Tensor& tensor) {
  return tensor.to(at::kBFloat16).to(at::kFloat);
}

// dx/dsigma = v in steps, each from the state rounded to bf16.
TEST_F(KnowledgeDistillation, TrajectoriesAreTheGuidedTeachersEulerSteps) {
  KnowledgeDistillationMethod method(config_, make_context());
  method.prepare_data(rows(), Mesh());
  const Trajectory trajectory = cache().read(3);
  const std::vector<int64_t> timesteps = {1000, 900, 750, 500};  // shift 3: s/(1+2s)*3
  ASSERT_TRUE(at::equal(trajectory.timesteps_S, at::tensor(timesteps)));
  const Batch raw = rows().read({3});
  EXPECT_TRUE(at::equal(trajectory.text_embedding_LD, raw.text_embedding_BLD[0]));
  EXPECT_TRUE(at::equal(trajectory.text_attention_mask_L, raw.text_attention_mask_BL[0]));
  const double conditional = raw.text_embedding_BLD.mean().item<double>();
  const double text = 0.125 + kGuidance * (conditional - 0.125);
  at::Tensor state =
      to_bf16(random_.normal({"knowledge_distillation.noise", {3}}, {1, 4, 16, 4, 6})[0]);
  for (int64_t i = 0; i < 4; ++i) {
    // One unit of bf16's last place where a rounding falls on the other side.
    EXPECT_TENSOR_CLOSE(trajectory.latents_STCHW[i], state, 1e-2) << i;
    const at::Tensor stored = trajectory.latents_STCHW[i].to(at::kFloat);
    const at::Tensor velocity = 0.5 * stored + 0.25 + text;
    const double sigma = static_cast<double>(timesteps[static_cast<size_t>(i)]) / 1000.0;
    if (i == 3) {
      EXPECT_TENSOR_CLOSE(trajectory.clean_TCHW, stored - sigma * velocity, 1e-5);
      break;
    }
    const double next_sigma = static_cast<double>(timesteps[static_cast<size_t>(i) + 1]) / 1000.0;
    state = to_bf16(stored + (next_sigma - sigma) * velocity);
  }
}

TEST_F(KnowledgeDistillation, MakesTheCacheOnceAndFreesTheTeacher) {
  KnowledgeDistillationMethod method(config_, make_context());
  method.prepare_data(rows(), Mesh());
  EXPECT_EQ(num_teacher_rows_, 10 * 4 * 2);  // rows, steps, both conditions
  EXPECT_FALSE(method.roles().contains("teacher"));
  EXPECT_TRUE(fs::exists(folder_ / "cache" / "COMPLETE"));
  KnowledgeDistillationMethod again(config_, make_context());
  again.prepare_data(rows(), Mesh());
  EXPECT_EQ(num_teacher_rows_, 10 * 4 * 2);
  EXPECT_EQ(prepare_error(config_, make_context(false)), "no error");
}

TEST_F(KnowledgeDistillation, WithoutGuidanceTheTeacherRunsOnce) {
  config_.teacher_guidance_scale = 1.0;
  KnowledgeDistillationMethod method(config_, make_context());
  method.prepare_data(rows(), Mesh());
  EXPECT_EQ(num_teacher_rows_, 10 * 4);
  EXPECT_FALSE(dynamic_cast<FakeModel&>(method.student()).has_negative_prompt);
}

TEST_F(KnowledgeDistillation, GoesOnWhereItWasKilled) {
  KnowledgeDistillationMethod(config_, make_context()).prepare_data(rows(), Mesh());
  const std::string whole = read_file(sample(4));
  fs::remove(folder_ / "cache" / "COMPLETE");
  fs::remove(sample(2));
  fs::resize_file(sample(4), whole.size() / 2);
  EXPECT_THAT(prepare_error(config_, make_context(false)),
              AllOf(HasSubstr("must hold 10 trajectories"),
                    HasSubstr("2 are missing; add models.teacher")));
  num_teacher_rows_ = 0;
  KnowledgeDistillationMethod(config_, make_context()).prepare_data(rows(), Mesh());
  EXPECT_EQ(num_teacher_rows_, 2 * 4 * 2);
  EXPECT_EQ(read_file(sample(4)), whole);  // draws belong to rows, whatever came before
  EXPECT_TRUE(fs::exists(folder_ / "cache" / "COMPLETE"));
}

TEST_F(KnowledgeDistillation, RefusesTheCacheOfAnotherTeacherOrOtherSettings) {
  KnowledgeDistillationMethod(config_, make_context()).prepare_data(rows(), Mesh());
  EXPECT_THAT(prepare_error(config_, make_context(true, 0.5)),
              AllOf(HasSubstr("the checksum of the teacher's weights is"),
                    HasSubstr("delete this one to have it made anew")));
  KnowledgeDistillationConfig other = config_;
  other.teacher_inference_steps = 2;
  other.t_list = {1000, 0};
  other.teacher_guidance_scale = 1.0;
  EXPECT_THAT(prepare_error(other, make_context(false)),
              AllOf(HasSubstr("teacher_inference_steps is 4 there and 2 here"),
                    HasSubstr("teacher_guidance_scale is 3.5 there and 1.0 here")));
}

TEST_F(KnowledgeDistillation, RefusesTheCacheOfOtherData) {
  KnowledgeDistillationMethod(config_, make_context()).prepare_data(rows(), Mesh());
  fs::copy_file(sample(1), sample(5), fs::copy_options::overwrite_existing);
  EXPECT_THAT(prepare_error(config_, make_context()),
              HasSubstr("must have been made from this run's data, but the text of row 5"));
}

// Else one cache would hold two data sets.
TEST_F(KnowledgeDistillation, MakesNothingBesideRowsOfOtherData) {
  KnowledgeDistillationMethod(config_, make_context()).prepare_data(rows(), Mesh());
  fs::remove(folder_ / "cache" / "COMPLETE");
  fs::remove(sample(7));
  fs::copy_file(sample(1), sample(0), fs::copy_options::overwrite_existing);
  num_teacher_rows_ = 0;
  EXPECT_THAT(prepare_error(config_, make_context()), HasSubstr("but the text of row 0"));
  EXPECT_EQ(num_teacher_rows_, 0);
}

TEST_F(KnowledgeDistillation, RefusesTheRowOfOtherDataWhenItIsTrained) {
  KnowledgeDistillationMethod method(config_, make_context());
  method.prepare_data(rows(), Mesh());
  fs::copy_file(sample(1), sample(3), fs::copy_options::overwrite_existing);
  EXPECT_THAT(error_of([&] {
                method.single_train_step(rows().read({2, 3}), {});
              }),
              HasSubstr("must have been made from this run's data, but the text of row 3"));
}

TEST_F(KnowledgeDistillation, RefusesTheCacheOfAnotherLength) {
  KnowledgeDistillationMethod(config_, make_context()).prepare_data(rows(), Mesh());
  MethodContext longer = make_context();
  longer.num_latent_frames = 5;
  EXPECT_THAT(prepare_error(config_, std::move(longer)),
              HasSubstr("num_latent_t is 0 there and 5"));
}

// Ten rows: of three data groups, two make a row twice so that all call the teacher equally often.
TEST_F(KnowledgeDistillation, RanksShareOutTheRows) {
  KnowledgeDistillationMethod(config_, make_context()).prepare_data(rows(), Mesh());
  std::vector<std::string> expected;
  for (int64_t row = 0; row < 10; ++row) expected.push_back(read_file(sample(row)));
  fs::remove_all(folder_ / "cache");
  std::array<int64_t, 3> num_rows{};
  run_ranks({.replicate = 3}, [&](const Mesh& mesh) {
    KeyedRandomSource random(5);
    auto teacher =
        std::make_unique<TextModel>(random, false, &num_rows.at(static_cast<size_t>(mesh.rank)));
    teacher->parameters().load({{"scale", at::full({1}, 0.5)}, {"offset", at::full({1}, 0.25)}});
    MethodContext context = make_context(false);
    context.random = &random;
    context.roles.add("teacher", std::move(teacher));
    KnowledgeDistillationMethod method(config_, std::move(context));
    method.prepare_data(rows(), mesh);
    EXPECT_FALSE(method.roles().contains("teacher"));
  });
  EXPECT_THAT(num_rows, Each(4 * 4 * 2));  // rounds, steps, both conditions
  for (int64_t row = 0; row < 10; ++row)
    EXPECT_EQ(read_file(sample(row)), expected[static_cast<size_t>(row)]) << row;
  EXPECT_TRUE(fs::exists(folder_ / "cache" / "COMPLETE"));
}

TEST_F(KnowledgeDistillation, RefusesLatentsOfAnotherSize) {
  KnowledgeDistillationMethod method(config_, make_context());
  method.prepare_data(rows(), Mesh());
  Batch batch = rows().read({1, 2});
  batch.vae_latent_BCTHW = batch.vae_latent_BCTHW.narrow(2, 0, 3);
  EXPECT_THAT(error_of([&] { method.single_train_step(batch, {}); }),
              HasSubstr("must hold latents of this run's length and size [3, 16, 4, 6]"));
}

TEST_F(KnowledgeDistillation, LossIsHalfTheDistanceOfTheCleanPrediction) {
  KnowledgeDistillationMethod method(config_, make_context());
  method.prepare_data(rows(), Mesh());
  const Batch batch = rows().read({7, 2});
  const StepOutput output = method.single_train_step(batch, {});
  const auto step = static_cast<int64_t>(output.metrics[0].second);
  EXPECT_EQ(output.metrics[0].first, "kd_step_idx");
  const double sigma = step == 0 ? 1.0 : 0.75;
  double expected = 0.0;
  for (const int64_t row : {7, 2}) {
    const Trajectory trajectory = cache().read(row);
    const at::Tensor noisy = trajectory.latents_STCHW[step == 0 ? 0 : 2].to(at::kFloat);
    const double text = trajectory.text_embedding_LD.mean().item<double>();
    const at::Tensor clean = noisy - sigma * (0.5 * noisy + 0.25 + text);
    expected += 0.25 * (clean - trajectory.clean_TCHW).square().mean().item<double>();
  }
  EXPECT_NEAR(output.losses[0].second.item<double>(), expected, 1e-5 * expected);
  EXPECT_EQ(output.losses[1].first, "kd_loss");
}

// Dropped text would be regressed on trajectories that had it.
TEST_F(KnowledgeDistillation, TheTextIsTheTrajectorys) {
  KnowledgeDistillationMethod method(config_, make_context());
  method.prepare_data(rows(), Mesh());
  Batch batch = rows().read({7});
  const double loss = method.single_train_step(batch, {}).losses[0].second.item<double>();
  const at::Tensor text = batch.text_embedding_BLD.clone();
  batch.text_embedding_BLD = at::zeros_like(text);
  EXPECT_EQ(method.single_train_step(batch, {}).losses[0].second.item<double>(), loss);
  EXPECT_EQ(batch.text_embedding_BLD.abs().sum().item<double>(), 0.0);  // the caller's stays
}

TEST_F(KnowledgeDistillation, SamplesAtItsStepsAlongTheFlow) {
  KnowledgeDistillationMethod method(config_, make_context());
  const auto rollout = method.few_step_rollout();
  ASSERT_EQ(rollout->num_steps(), 2);
  EXPECT_EQ(rollout->timesteps[1].item<double>(), 750.0);
  EXPECT_EQ(rollout->transition, FewStepTransition::kOde);
}

TEST_F(KnowledgeDistillation, RefusesStepsThatAreNotTheTeachers) {
  config_.t_list = {999, 750, 0};
  EXPECT_THAT(error_of([&] { KnowledgeDistillationMethod(config_, make_context()); }),
              HasSubstr("method.t_list: every step but the last must be one of the teacher's "
                        "timesteps, but 999 is not; they are 1000, 900, 750, 500"));
  EXPECT_THAT(error_of([] { teacher_timesteps(1.0, 2000); }),
              HasSubstr("method.teacher_inference_steps: steps must lie at different whole"));
}

TEST_F(KnowledgeDistillation, RefusesAStudentThatIsNotCausalForBlocks) {
  CausalKnowledgeDistillationConfig config;
  static_cast<KnowledgeDistillationConfig&>(config) = config_;
  EXPECT_THAT(error_of([&] { CausalKnowledgeDistillationMethod(config, make_context()); }),
              HasSubstr("models.student: causal knowledge distillation needs a causal model"));
}

TEST_F(KnowledgeDistillation, EachBlockOfACausalStudentHasAStepOfItsOwn) {
  CausalKnowledgeDistillationConfig config;
  static_cast<KnowledgeDistillationConfig&>(config) = config_;
  const auto context = [&] {
    return make_context(std::make_unique<CausalTextModel>(random_), true, 0.25);
  };
  EXPECT_THAT(error_of([&] { CausalKnowledgeDistillationMethod(config, context()); }),
              HasSubstr("method.num_frames_per_block: must be the student's num_frames_per_block, "
                        "which is 2, but got 3"));
  config.num_frames_per_block = 2;
  CausalKnowledgeDistillationMethod method(config, context());
  method.prepare_data(rows(), Mesh());
  auto& student = dynamic_cast<CausalTextModel&>(method.student());
  bool blocks_differ = false;
  for (int64_t row = 0; row < 8; ++row) {
    const StepOutput output = method.single_train_step(rows().read({row, row + 1}), {});
    const at::Tensor timestep_BT = student.timestep_BT;
    ASSERT_EQ(timestep_BT.sizes(), at::IntArrayRef({2, 4}));
    for (const int64_t frame : {0, 2}) {
      EXPECT_TRUE(at::equal(timestep_BT.select(1, frame), timestep_BT.select(1, frame + 1)));
    }
    blocks_differ |= !at::equal(timestep_BT.select(1, 0), timestep_BT.select(1, 2));
    EXPECT_EQ(output.metrics[0].first, "kd_mean_step_idx");
    EXPECT_NEAR(output.metrics[0].second,
                timestep_BT.eq(750.0).to(at::kDouble).mean().item<double>(), 1e-12);
  }
  EXPECT_TRUE(blocks_differ);
}

// As CausVid's and Self-Forcing's ODE regression: inputs of timestep 0 are in, their error is not.
TEST_F(KnowledgeDistillation, FinishedBlocksAreContextAlone) {
  CausalKnowledgeDistillationConfig config;
  static_cast<KnowledgeDistillationConfig&>(config) = config_;
  config.num_frames_per_block = 2;
  config.draw_finished_blocks = true;
  CausalKnowledgeDistillationMethod method(
      config, make_context(std::make_unique<CausalTextModel>(random_), true, 0.25));
  method.prepare_data(rows(), Mesh());
  auto& student = dynamic_cast<CausalTextModel&>(method.student());
  int64_t num_finished = 0;
  for (int64_t row = 0; row < 10; ++row) {
    const double loss =
        method.single_train_step(rows().read({row}), {}).losses[0].second.item<double>();
    const at::Tensor timestep_T = student.timestep_BT[0];
    const at::Tensor asked_TCHW = student.asked_BTCHW[0];
    const Trajectory trajectory = cache().read(row);
    const double text = trajectory.text_embedding_LD.mean().item<double>();
    std::vector<at::Tensor> errors;
    for (int64_t frame = 0; frame < 4; ++frame) {
      const auto timestep = timestep_T[frame].item<double>();
      const at::Tensor clean = trajectory.clean_TCHW[frame];
      if (timestep == 0.0) {
        ASSERT_LT(frame, 2) << "no block comes after the last one";
        EXPECT_TRUE(at::equal(asked_TCHW[frame], clean));
        num_finished += 1;
        continue;
      }
      const at::Tensor state =
          trajectory.latents_STCHW[timestep == 1000.0 ? 0 : 2][frame].to(at::kFloat);
      EXPECT_TRUE(at::equal(asked_TCHW[frame], state));
      const at::Tensor velocity = 0.5 * state + 0.25 + text;
      errors.push_back((state - timestep / 1000.0 * velocity - clean).square().mean());
    }
    const double expected = 0.5 * at::stack(errors).mean().item<double>();
    EXPECT_NEAR(loss, expected, 1e-5 * expected) << row;
  }
  EXPECT_GT(num_finished, 0);
  EXPECT_LT(num_finished, 20);
}

std::vector<std::string> faults_of(const std::string& yaml) {
  config::Issues issues;
  KnowledgeDistillationConfig config;
  config::Type<KnowledgeDistillationConfig>::read(config::parse_yaml(yaml, "f"), config,
                                                  {issues, "method"});
  return issues.faults();
}

TEST(KnowledgeDistillationConfig, BlocksMustBeThoseThatTheStudentStates) {
  const config::Node node = config::parse_yaml("num_frames_per_block: 4", "f");
  CausalKnowledgeDistillationConfig config;
  config.num_frames_per_block = 4;
  const auto faults_with = [&](const config::RunFacts& run) {
    config::Issues issues;
    config.check_run(node, run, {issues, "method"});
    return issues.faults();
  };
  EXPECT_THAT(faults_with({.frames_per_block = {{"student", 3}}}),
              ElementsAre(HasSubstr("f:1: method.num_frames_per_block: must be the student's "
                                    "num_frames_per_block, which is 3, but got 4")));
  EXPECT_THAT(faults_with({.frames_per_block = {{"student", 4}}}), ElementsAre());
  EXPECT_THAT(faults_with({}), ElementsAre());  // the checkpoint says
}

TEST(KnowledgeDistillationConfig, NamesEveryFault) {
  const std::string cache = "teacher_path_cache: c\n";
  EXPECT_THAT(faults_of(cache + "t_list: [1000, 750, 0]"), ElementsAre());
  for (const char* steps :
       {"[]", "[0]", "[750, 1000, 0]", "[1000, 1000, 0]", "[1001, 0]", "[1000, 5]"}) {
    EXPECT_THAT(faults_of(cache + "t_list: " + steps),
                ElementsAre(HasSubstr("method.t_list: must be a list of descending timesteps of at "
                                      "most 1000 that ends with 0")))
        << steps;
  }
  EXPECT_THAT(
      faults_of(cache + "t_list: [1000, 0]\nstudent_sample_steps: 2"),
      ElementsAre(HasSubstr("method.student_sample_steps: must be one less than the entries "
                            "of t_list, which is 1, but got 2")));
  EXPECT_THAT(faults_of("t_list: [1000, 0]"), ElementsAre(HasSubstr("teacher_path_cache")));
}

}  // namespace
}  // namespace zoetrope
