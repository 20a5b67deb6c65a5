// Replays every recorded training run of the reference whose models and method are built through
// the real trainer, loader, method and callbacks: only the random draws are the recorded ones.
// Losses, metrics, inputs and outputs of the networks, intermediate results, gradients, parameters
// and EMA after every step. Where the reference also wrote a checkpoint and recorded how it went on
// from there (`resume_trace`), ours goes on from that checkpoint, too.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "golden/training/call_checker.h"
#include "golden/training/ignored_options.h"
#include "golden/training/overwritten_cache.h"
#include "golden/training/recorded_trajectories.h"
#include "golden/training/replayed_models.h"
#include "golden/training/trace_checker.h"
#include "support/golden.h"
#include "support/replay_random_source.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/catalog.h"
#include "zoetrope/checkpoint/checkpoint_folder.h"
#include "zoetrope/config/overrides.h"
#include "zoetrope/models/wan/wan_model.h"
#include "zoetrope/train/builder.h"
#include "zoetrope/train/trainer.h"

namespace zoetrope {
namespace {

using nlohmann::json;
using test::GoldenCase;

// The bf16 trace rounds elsewhere (bf16 parameters and noise); its README keeps it for reference
// only.
constexpr double kBf16LossTolerance = 2e-2;

class RecordingTracker : public Tracker {
 public:
  void log(int64_t step, const std::vector<Metric>& metrics) override {
    for (const Metric& metric : metrics) values[step][metric.name] = metric.value;
  }
  std::map<int64_t, std::map<std::string, double>> values;
};

std::string first_latents_key(const GoldenCase& golden) {
  return fmt::format("s{}.prep.latents", golden.json()["steps"][0]["step"].get<int64_t>());
}

/// Whether models and method of the case are built.
bool is_built(const GoldenCase& golden) {
  const auto path = golden.folder() / "config.yaml";
  if (!std::filesystem::exists(path) || !golden.json().contains("steps") ||
      !golden.contains(first_latents_key(golden)))
    return false;
  const Catalog catalog;
  config::Issues issues;
  read_run_config(config::parse_yaml_file(path), catalog.tables(), issues);
  const std::vector<std::string> faults = issues.faults();
  return std::none_of(faults.begin(), faults.end(), [](const std::string& fault) {
    return fault.find("not built yet") != std::string::npos;
  });
}

std::string method_class(const GoldenCase& golden) {
  const config::Node document = config::parse_yaml_file(golden.folder() / "config.yaml");
  const Catalog catalog;
  return catalog.registries.methods.find(document.find("method")->find("_target_")->text())
      ->class_name();
}

std::vector<std::filesystem::path> training_cases() {
  return test::golden_folders_where(test::golden_root(), is_built);
}

/// `resume_trace` folders of cases beside which the reference's checkpoint lies.
std::vector<std::filesystem::path> resume_cases() {
  std::vector<std::filesystem::path> found;
  for (const auto& folder : training_cases()) {
    const auto resumed = folder / "resume_trace";
    if (std::filesystem::exists(resumed / "trace.json") &&
        !list_checkpoints(folder / "out").empty())
      found.push_back(resumed);
  }
  return found;
}

void push_recorded_draws(const GoldenCase& golden, test::ReplayRandomSource& random) {
  for (const json& step : golden.json()["steps"]) {
    for (const json& event : step["events"]) {
      if (event["kind"] == "rng") random.push({event["fn"], golden.tensor(event["key"])});
    }
  }
}

using ReplayCase = std::tuple<std::filesystem::path, Implementation>;

class TrainingReplay : public testing::TestWithParam<ReplayCase> {
 protected:
  // Paths in the recorded configs are relative to the folder of the cases.
  void SetUp() override {
    working_folder_ = std::filesystem::current_path();
    std::filesystem::current_path(test::golden_root());
  }
  void TearDown() override { std::filesystem::current_path(working_folder_); }

  /// `overrides` come on top of the recorded config.
  void replay(const GoldenCase& golden, Implementation implementation,
              const std::vector<std::string>& overrides = {});

 private:
  std::filesystem::path working_folder_;
};

// Near zero a relative tolerance means nothing.
constexpr double kAbsoluteTolerance = 1e-6;

void expect_metrics(const GoldenCase& golden, RecordingTracker& tracker, double tolerance) {
  const json& steps = golden.json()["steps"];
  ASSERT_EQ(tracker.values.size(), steps.size());
  for (const json& step : steps) {
    auto& logged = tracker.values[step["step"]];
    for (const auto& [name, value] : step["trainer_metrics"].items()) {
      if (name == "vsa_sparsity") continue;  // of an attention that is not built
      const double expected = value;
      ASSERT_TRUE(logged.contains(name)) << "step " << step["step"] << " " << name;
      EXPECT_NEAR(logged.at(name), expected,
                  std::max(kAbsoluteTolerance, tolerance * std::abs(expected)))
          << "step " << step["step"] << " " << name;
    }
    for (const auto& [role, gradients] : step["grads_before_clip"].items())
      EXPECT_DOUBLE_EQ(logged.at("lr/" + role), step["lr_used"][role][0].get<double>());
  }
}

/// The reference's runs took their negative prompt from a file beside the models.
void set_recorded_negative_text(ModelBase& student) {
  const SafetensorsFile file(test::golden_root() / "_models/neg.safetensors");
  dynamic_cast<WanModel&>(student).set_negative_text(file.tensor("embeds"));
}

/// The cache of a case of knowledge distillation, with the trajectories that the reference trained
/// on. The teacher makes the others, which nothing is compared with.
void provide_trajectories(const GoldenCase& golden, const RunConfig& config,
                          const std::filesystem::path& folder, test::ReplayRandomSource& random) {
  const auto recorded = test::recorded_trajectories(golden, config);
  test::write_reference_cache(folder, config, recorded);
  const at::Tensor& like_TCHW = recorded.begin()->second.clean_TCHW;
  const auto num_recorded = static_cast<int64_t>(recorded.size());
  for (int64_t i = num_recorded; i < test::num_recorded_rows(config); ++i)
    test::push_generation_draws(at::ones_like(like_TCHW).unsqueeze(0), random);
}

/// Where links were copied as text, a weight file holds the path of the one that is meant.
void follow_text_links(config::Node& document) {
  constexpr uintmax_t kLongestPath = 512;
  std::vector<std::string> overrides;
  for (const auto& [role, model] : document.find("models")->entries()) {
    const auto file = std::filesystem::path(model.find("init_from")->text()) /
                      "transformer/diffusion_pytorch_model.safetensors";
    if (!std::filesystem::exists(file) || std::filesystem::file_size(file) > kLongestPath) continue;
    overrides.push_back(fmt::format("--models.{}.transformer_override_safetensor={}", role,
                                    (file.parent_path() / read_file(file)).string()));
  }
  config::apply_overrides(document, overrides);
}

/// What the teacher is guided with while the student is trained.
double guidance_scale(const RunConfig& config) {
  for (const char* key : {"real_score_guidance_scale", "guidance_scale"}) {
    const config::Node* scale = config.raw.find("method")->find(key);
    if (scale != nullptr) return std::stod(scale->text());
  }
  return 1.0;
}

/// Recorded passes that ours makes, too.
int64_t num_comparable_passes(const GoldenCase& golden) {
  int64_t sum = 0;
  for (const json& step : golden.json()["steps"])
    sum += test::recorded_calls(step, golden).num_passes();
  return sum;
}

void TrainingReplay::replay(const GoldenCase& golden, Implementation implementation,
                            const std::vector<std::string>& overrides) {
  const bool bf16 = golden.tensor(first_latents_key(golden)).scalar_type() == at::kBFloat16;
  const test::TemporaryFolder output;
  config::Node document = config::parse_yaml_file(golden.folder() / "config.yaml");
  config::apply_overrides(
      document,
      {"--training.data.sampler=fastvideo", "--training.distributed.device=cpu",
       bf16 ? "--training.model.compute_dtype=bf16" : "--training.model.compute_dtype=fp32",
       "--training.checkpoint.output_dir=" + output.path().string(),
       "--training.checkpoint.resume_from_checkpoint="});
  config::apply_overrides(document, overrides);
  follow_text_links(document);
  const auto trajectories = output / "trajectories";
  if (test::has_trajectories(golden))
    config::apply_overrides(document, {"--method.teacher_path_cache=" + trajectories.string()});
  Catalog catalog;
  test::add_replayed_models(catalog);
  test::apply_as_the_reference_does(document, catalog);
  const ComponentRegistries& registries = catalog.registries;
  config::Issues issues;
  RunConfig config = read_run_config(document, catalog.tables(), issues);
  issues.throw_if_any();
  test::use_replayed_models(catalog, config);

  test::ReplayRandomSource random(config.training.model.logit_mean,
                                  config.training.model.logit_std);
  if (test::has_trajectories(golden)) provide_trajectories(golden, config, trajectories, random);
  push_recorded_draws(golden, random);
  const auto method = build_method(config, registries, random);
  for (const auto& [role, model] : method->roles().all())
    dynamic_cast<WanModel&>(*model).transformer().set_implementation(implementation);
  if (config.models.size() > 1) set_recorded_negative_text(method->student());
  NamedCallbacks callbacks = build_callbacks(config, registries, *method);
  auto checker = std::make_unique<test::TraceChecker>(golden, !bf16, implementation);
  const test::TraceChecker& checked = *checker;
  auto call_checker = std::make_unique<test::CallChecker>(
      golden, checked,
      test::CallChecker::Options{.guidance_scale = guidance_scale(config),
                                 .compare_prepared_latents = !test::has_trajectories(golden)});
  const test::CallChecker& calls = *call_checker;
  if (!bf16) callbacks.emplace_back("calls", std::move(call_checker));
  callbacks.emplace_back("trace", std::move(checker));
  callbacks.emplace_back("overwritten_cache", std::make_unique<test::OverwrittenCache>(golden));
  const TrainingData data = build_data(config, *method);
  RecordingTracker tracker;
  RunCheckpoints checkpoints(checkpoint_options(config));
  Trainer trainer(
      {config.training.loop.max_train_steps, config.training.loop.gradient_accumulation_steps},
      {*method, *data.loader, callbacks, tracker, checkpoints});
  trainer.run();

  expect_metrics(golden, tracker, bf16 ? kBf16LossTolerance : checked.loss_tolerance());
  EXPECT_TRUE(random.empty()) << "recorded draws are left over";
  if (bf16) return;
  EXPECT_GT(checked.num_compared(), 0);
  EXPECT_GT(calls.num_passes(), 0);
  EXPECT_GT(calls.num_batches(), 0);
  EXPECT_EQ(calls.num_passes(), num_comparable_passes(golden));
}

TEST_P(TrainingReplay, MatchesTheReference) {
  const auto& [folder, implementation] = GetParam();
  replay(GoldenCase(std::filesystem::absolute(folder)), implementation);
}

class TrainingResume : public TrainingReplay {};

TEST_P(TrainingResume, GoesOnFromTheCheckpointOfTheReference) {
  const auto& [folder, implementation] = GetParam();
  const GoldenCase golden(std::filesystem::absolute(folder));
  replay(golden, implementation,
         {"--training.checkpoint.resume_from_checkpoint=" +
          (golden.folder().parent_path() / "out").string()});
}

std::string replay_name(const testing::TestParamInfo<ReplayCase>& info) {
  const auto& [folder, implementation] = info.param;
  const bool resumed = folder.filename() == "resume_trace";
  return test::golden_test_name({resumed ? folder.parent_path() : folder, info.index}) +
         (implementation == Implementation::kPlain ? "_plain" : "_fastest");
}

std::vector<std::filesystem::path> self_forcing_cases() {
  return test::golden_folders_where(test::golden_root(), [](const GoldenCase& golden) {
    return is_built(golden) && method_class(golden) == "SelfForcingMethod";
  });
}

std::vector<std::filesystem::path> knowledge_distillation_cases() {
  return test::golden_folders_where(test::golden_root(), test::has_trajectories);
}

// The reference reads these options and ignores them, so its run stays the same.
class IgnoredOptions : public TrainingReplay {
 protected:
  void replay_with(const std::vector<std::string>& overrides) {
    const auto& [folder, implementation] = GetParam();
    replay(GoldenCase(std::filesystem::absolute(folder)), implementation, overrides);
  }
};
class SelfForcingOptions : public IgnoredOptions {};
class TeacherGuidance : public IgnoredOptions {};

TEST_P(SelfForcingOptions, OfTheScoreTimestepsAreIgnored) {
  replay_with({"--method.min_timestep_ratio=0.45", "--method.max_timestep_ratio=0.55"});
}

TEST_P(TeacherGuidance, OfTrajectoriesIsIgnored) {
  replay_with({"--method.teacher_guidance_scale=3.5"});
}

const auto kImplementations = testing::Values(Implementation::kPlain, Implementation::kFastest);

INSTANTIATE_TEST_SUITE_P(Golden, TrainingReplay,
                         testing::Combine(testing::ValuesIn(training_cases()), kImplementations),
                         replay_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TrainingResume);
INSTANTIATE_TEST_SUITE_P(Golden, TrainingResume,
                         testing::Combine(testing::ValuesIn(resume_cases()), kImplementations),
                         replay_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SelfForcingOptions);
INSTANTIATE_TEST_SUITE_P(Golden, SelfForcingOptions,
                         testing::Combine(testing::ValuesIn(self_forcing_cases()),
                                          testing::Values(Implementation::kPlain)),
                         replay_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TeacherGuidance);
INSTANTIATE_TEST_SUITE_P(Golden, TeacherGuidance,
                         testing::Combine(testing::ValuesIn(knowledge_distillation_cases()),
                                          testing::Values(Implementation::kPlain)),
                         replay_name);

/// Cases of several ranks that wrote a sharded checkpoint.
std::vector<std::filesystem::path> sharded_cases() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(test::golden_root())) {
    if (std::filesystem::exists(entry.path() / "trace_rank0.safetensors") &&
        !list_checkpoints(entry.path() / "out").empty())
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

class ShardedCheckpoint : public testing::TestWithParam<std::filesystem::path> {
 public:
  ~ShardedCheckpoint() override { std::filesystem::current_path(working_folder_); }

 protected:
  ShardedCheckpoint() {
    std::filesystem::current_path(test::golden_root());
    config::Node document = config::parse_yaml_file(GetParam() / "config.yaml");
    config::apply_overrides(
        document,
        {"--training.distributed.num_gpus=1", "--training.distributed.sp_size=1",
         "--training.distributed.hsdp_replicate_dim=1", "--training.distributed.hsdp_shard_dim=1",
         "--training.distributed.device=cpu", "--training.model.compute_dtype=fp32",
         "--training.checkpoint.output_dir=" + output_.path().string(),
         "--training.checkpoint.resume_from_checkpoint=" + (GetParam() / "out").string()});
    config::Issues issues;
    config_ = read_run_config(document, catalog_.tables(), issues);
    issues.throw_if_any();
    config_.training.loop.max_train_steps = list_checkpoints(GetParam() / "out").front().step;
  }

  /// Resumes at the end of the run, so that nothing is trained.
  std::unique_ptr<TrainingMethod> resume() {
    auto method = build_method(config_, catalog_.registries, random_);
    NamedCallbacks callbacks = build_callbacks(config_, catalog_.registries, *method);
    const TrainingData data = build_data(config_, *method);
    RecordingTracker tracker;
    RunCheckpoints checkpoints(checkpoint_options(config_));
    Trainer({config_.training.loop.max_train_steps, 1},
            {*method, *data.loader, callbacks, tracker, checkpoints})
        .run();
    return method;
  }

  std::filesystem::path working_folder_ = std::filesystem::current_path();
  const test::TemporaryFolder output_;
  const Catalog catalog_;
  KeyedRandomSource random_{0};
  RunConfig config_;
};

TEST_P(ShardedCheckpoint, GivesTheFinalWeights) {
  std::erase_if(config_.callbacks, [](const auto& callback) { return callback.first == "ema"; });
  const auto method = resume();
  const SafetensorsFile trace(GetParam() / "trace_rank0.safetensors");
  for (const auto& [name, tensor] : method->student().parameters().tensors())
    EXPECT_TRUE(at::equal(tensor, trace.tensor("final.student." + name))) << name;
}

// The reference stores one rank's part of the average under the name of the whole.
TEST_P(ShardedCheckpoint, RefusesTheAverageOfOneRank) {
  try {
    resume();
    FAIL() << "must throw";
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("only one rank's part"), std::string::npos)
        << error.what();
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ShardedCheckpoint);
INSTANTIATE_TEST_SUITE_P(Golden, ShardedCheckpoint, testing::ValuesIn(sharded_cases()),
                         test::golden_test_name);

TEST(TrainingCases, AreThere) {
  EXPECT_FALSE(training_cases().empty()) << test::golden_root();
  if (!test::has_all_kinds()) return;
  EXPECT_FALSE(sharded_cases().empty());
  EXPECT_FALSE(resume_cases().empty());
  EXPECT_FALSE(self_forcing_cases().empty());
  EXPECT_FALSE(knowledge_distillation_cases().empty());
}

}  // namespace
}  // namespace zoetrope
