// Replays every recorded supervised fine-tuning run of the reference through the real trainer,
// loader, method and callbacks: only the random draws are the recorded ones. Losses, gradients,
// parameters and EMA after every step. Where the reference also wrote a checkpoint and recorded how
// it went on from there (`resume_trace`), ours goes on from that checkpoint, too.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/replay_random_source.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
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

constexpr double kLossTolerance = 2e-5;
constexpr double kNormTolerance = 1e-4;
// A parameter whose gradient is rounding noise (cross attention's queries and keys when all text of
// a step was dropped) is moved by AdamW in a direction that only the order of summation decides.
// Its own gradients are not compared from then on. The plain implementation sums like the reference
// and keeps all other tolerances but that of single norms; the fused one, whose noise is as large
// but another, is from then on compared within the second row (docs/numerics.md).
struct ToleranceAfterNoise {
  double norm;
  double parameter;
  double loss;
};
constexpr ToleranceAfterNoise kPlainAfterNoise = {1e-3, 1e-5, 2e-5};
constexpr ToleranceAfterNoise kFusedAfterNoise = {5e-2, 1e-3, 5e-4};
constexpr double kGradientTolerance = 1e-4;
constexpr double kParameterTolerance = 1e-5;
// Below this share of the total norm, a gradient is rounding noise.
constexpr double kNoiseNormShare = 1e-6;
// The bf16 trace rounds elsewhere (bf16 parameters and noise); its README keeps it for reference
// only.
constexpr double kBf16LossTolerance = 2e-2;

double relative_l2(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor difference = actual.to(at::kDouble) - expected.to(at::kDouble);
  return (difference.norm() / expected.to(at::kDouble).norm().clamp_min(1e-30)).item<double>();
}

class RecordingTracker : public Tracker {
 public:
  void log(int64_t step, const std::vector<Metric>& metrics) override {
    for (const Metric& metric : metrics) values[step][metric.name] = metric.value;
  }
  std::map<int64_t, std::map<std::string, double>> values;
};

// Compares the run with the trace as it goes.
class TraceChecker : public Callback {
 public:
  TraceChecker(const GoldenCase& golden, bool exact, Implementation implementation)
      : golden_(golden), exact_(exact), implementation_(implementation) {}

  void on_before_optimizer_step(RunState& run, std::vector<OptimizerUpdate>& updates) override {
    if (!exact_) return;
    const json& recorded = step_json(run)["grads_before_clip"]["student"];
    const double total = recorded["total_norm_fp64"];
    const double tolerance = noise_parameters_.empty() ? kNormTolerance : after_noise().norm;
    ASSERT_EQ(updates.size(), 1U);
    EXPECT_NEAR(updates[0].gradient_norm, total, tolerance * total) << "step " << run.step;
    const ParameterStore& parameters = run.method.student().parameters();
    for (const auto& [name, norm] : recorded["norms"].items()) {
      if (norm.get<double>() < kNoiseNormShare * total) noise_parameters_.insert(name);
      if (noise_parameters_.contains(name)) continue;
      const at::Tensor& gradient = parameters.at(name).gradient;
      EXPECT_NEAR(gradient.to(at::kDouble).norm().item<double>(), norm.get<double>(),
                  tolerance * norm.get<double>())
          << "step " << run.step << " " << name;
      const std::string key = fmt::format("s{}.grad.student.{}", run.step, name);
      if (golden_.contains(key)) {
        EXPECT_TENSOR_CLOSE(gradient, golden_.tensor(key), kGradientTolerance) << key;
      }
    }
  }

  void on_training_step_end(RunState& run) override {
    if (!exact_) return;
    const double learning_rate = step_json(run)["lr_used"]["student"][0];
    largest_learning_rate_ = std::max(largest_learning_rate_, learning_rate);
    check_weights(fmt::format("s{}.param.student.", run.step),
                  run.method.student().parameters().tensors(), run.step);
    const bool averaged = step_json(run).value("ema_started", false);
    EXPECT_EQ(run.average != nullptr, averaged) << "step " << run.step;
    if (averaged)
      check_weights(fmt::format("s{}.ema.", run.step), run.average->tensors(), run.step);
    check_sums(run);
    if (run.step == golden_.json()["steps"].back()["step"]) {
      check_weights("final.student.", run.method.student().parameters().tensors(), run.step);
    }
  }

  int num_compared() const { return num_compared_; }
  double loss_tolerance() const {
    return noise_parameters_.empty() ? kLossTolerance : after_noise().loss;
  }

 private:
  const json& step_json(const RunState& run) const {
    const json& steps = golden_.json()["steps"];
    return steps[run.step - steps[0]["step"].get<int64_t>()];
  }

  const ToleranceAfterNoise& after_noise() const {
    return implementation_ == Implementation::kPlain ? kPlainAfterNoise : kFusedAfterNoise;
  }
  double parameter_tolerance() const {
    return noise_parameters_.empty() ? kParameterTolerance : after_noise().parameter;
  }

  void check_weights(const std::string& prefix, const NamedTensors& tensors, int64_t step) {
    for (const auto& [name, tensor] : tensors) {
      if (!golden_.contains(prefix + name)) continue;
      ++num_compared_;
      const at::Tensor expected = golden_.tensor(prefix + name);
      if (noise_parameters_.contains(name)) {
        const double limit = 1.5 * largest_learning_rate_ * static_cast<double>(step);
        EXPECT_LE((tensor - expected).abs().max().item<double>(), limit) << prefix << name;
      } else {
        EXPECT_LE(relative_l2(tensor, expected), parameter_tolerance()) << prefix << name;
      }
    }
  }

  // Sums of squares are recorded for every parameter, also where the tensor is not.
  void check_sums(const RunState& run) {
    const json& recorded = step_json(run)["params_after"]["student"];
    for (const auto& [name, tensor] : run.method.student().parameters().tensors()) {
      if (noise_parameters_.contains(name)) continue;
      const double expected = recorded[name]["sq"];
      EXPECT_NEAR(tensor.to(at::kDouble).square().sum().item<double>(), expected,
                  2.0 * parameter_tolerance() * expected)
          << "step " << run.step << " " << name;
    }
  }

  const GoldenCase& golden_;
  bool exact_;
  Implementation implementation_;
  std::set<std::string> noise_parameters_;
  double largest_learning_rate_ = 0.0;
  int num_compared_ = 0;
};

std::string first_latents_key(const GoldenCase& golden) {
  return fmt::format("s{}.prep.latents", golden.json()["steps"][0]["step"].get<int64_t>());
}

bool is_fine_tuning_case(const GoldenCase& golden) {
  const auto path = golden.folder() / "config.yaml";
  if (!std::filesystem::exists(path) || !golden.json().contains("steps")) return false;
  const config::Node config = config::parse_yaml_file(path);
  const auto target_of = [](const config::Node* node) {
    const config::Node* target = node != nullptr ? node->find("_target_") : nullptr;
    return target != nullptr ? target->text() : std::string();
  };
  const config::Node* models = config.find("models");
  return target_of(config.find("method")).ends_with(".FineTuneMethod") && models != nullptr &&
         target_of(models->find("student")).ends_with(".WanModel") &&
         golden.contains(first_latents_key(golden));
}

std::vector<std::filesystem::path> fine_tuning_cases() {
  return test::golden_folders_where(test::golden_root(), is_fine_tuning_case);
}

/// `resume_trace` folders of cases beside which the reference's checkpoint lies.
std::vector<std::filesystem::path> resume_cases() {
  std::vector<std::filesystem::path> found;
  for (const auto& folder : fine_tuning_cases()) {
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

class FineTuningReplay : public testing::TestWithParam<ReplayCase> {
 protected:
  // Paths in the recorded configs are relative to the folder of the cases.
  void SetUp() override {
    working_folder_ = std::filesystem::current_path();
    std::filesystem::current_path(test::golden_root());
  }
  void TearDown() override { std::filesystem::current_path(working_folder_); }

  void replay(const GoldenCase& golden, Implementation implementation,
              const std::string& resume_from);

 private:
  std::filesystem::path working_folder_;
};

void expect_losses(const GoldenCase& golden, RecordingTracker& tracker, double tolerance) {
  const json& steps = golden.json()["steps"];
  ASSERT_EQ(tracker.values.size(), steps.size());
  for (const json& step : steps) {
    auto& logged = tracker.values[step["step"]];
    for (const char* name : {"total_loss", "finetune_loss"}) {
      const double expected = step["trainer_metrics"][name];
      EXPECT_NEAR(logged.at(name), expected, tolerance * expected)
          << "step " << step["step"] << " " << name;
    }
    EXPECT_DOUBLE_EQ(logged.at("lr/student"), step["lr_used"]["student"][0].get<double>());
  }
}

void FineTuningReplay::replay(const GoldenCase& golden, Implementation implementation,
                              const std::string& resume_from) {
  const bool bf16 = golden.tensor(first_latents_key(golden)).scalar_type() == at::kBFloat16;
  const test::TemporaryFolder output;
  config::Node document = config::parse_yaml_file(golden.folder() / "config.yaml");
  config::apply_overrides(
      document,
      {"--training.data.sampler=fastvideo", "--training.distributed.device=cpu",
       bf16 ? "--training.model.compute_dtype=bf16" : "--training.model.compute_dtype=fp32",
       "--training.checkpoint.output_dir=" + output.path().string(),
       "--training.checkpoint.resume_from_checkpoint=" + resume_from});
  const Catalog catalog;
  const ComponentRegistries& registries = catalog.registries;
  config::Issues issues;
  const RunConfig config = read_run_config(document, catalog.tables(), issues);
  issues.throw_if_any();

  test::ReplayRandomSource random(config.training.model.logit_mean,
                                  config.training.model.logit_std);
  push_recorded_draws(golden, random);
  const auto method = build_method(config, registries, random);
  dynamic_cast<WanModel&>(method->student()).transformer().set_implementation(implementation);
  NamedCallbacks callbacks = build_callbacks(config, registries, *method);
  auto checker = std::make_unique<TraceChecker>(golden, !bf16, implementation);
  const TraceChecker& checked = *checker;
  callbacks.emplace_back("trace", std::move(checker));
  const TrainingData data = build_data(config, *method);
  RecordingTracker tracker;
  RunCheckpoints checkpoints(checkpoint_options(config), *data.loader);
  Trainer trainer(
      {config.training.loop.max_train_steps, config.training.loop.gradient_accumulation_steps},
      {*method, *data.loader, callbacks, tracker, checkpoints});
  trainer.run();

  expect_losses(golden, tracker, bf16 ? kBf16LossTolerance : checked.loss_tolerance());
  EXPECT_TRUE(random.empty()) << "recorded draws are left over";
  if (!bf16) {
    EXPECT_GT(checked.num_compared(), 0);
  }
}

TEST_P(FineTuningReplay, MatchesTheReference) {
  const auto& [folder, implementation] = GetParam();
  replay(GoldenCase(std::filesystem::absolute(folder)), implementation, "");
}

class FineTuningResume : public FineTuningReplay {};

TEST_P(FineTuningResume, GoesOnFromTheCheckpointOfTheReference) {
  const auto& [folder, implementation] = GetParam();
  const GoldenCase golden(std::filesystem::absolute(folder));
  replay(golden, implementation, (golden.folder().parent_path() / "out").string());
}

std::string replay_name(const testing::TestParamInfo<ReplayCase>& info) {
  const auto& [folder, implementation] = info.param;
  const bool resumed = folder.filename() == "resume_trace";
  const auto name = (resumed ? folder.parent_path() : folder).filename().string();
  return name + (implementation == Implementation::kPlain ? "_plain" : "_fastest");
}

const auto kImplementations = testing::Values(Implementation::kPlain, Implementation::kFastest);

INSTANTIATE_TEST_SUITE_P(Golden, FineTuningReplay,
                         testing::Combine(testing::ValuesIn(fine_tuning_cases()), kImplementations),
                         replay_name);
INSTANTIATE_TEST_SUITE_P(Golden, FineTuningResume,
                         testing::Combine(testing::ValuesIn(resume_cases()), kImplementations),
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
  ~ShardedCheckpoint() override { std::filesystem::current_path(working_folder_); }

  /// Resumes at the end of the run, so that nothing is trained.
  std::unique_ptr<TrainingMethod> resume() {
    auto method = build_method(config_, catalog_.registries, random_);
    NamedCallbacks callbacks = build_callbacks(config_, catalog_.registries, *method);
    const TrainingData data = build_data(config_, *method);
    RecordingTracker tracker;
    RunCheckpoints checkpoints(checkpoint_options(config_), *data.loader);
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

INSTANTIATE_TEST_SUITE_P(Golden, ShardedCheckpoint, testing::ValuesIn(sharded_cases()),
                         test::golden_test_name);

TEST(FineTuningCases, AreThere) {
  EXPECT_FALSE(sharded_cases().empty()) << test::golden_root();
  EXPECT_FALSE(fine_tuning_cases().empty()) << test::golden_root();
  EXPECT_FALSE(resume_cases().empty()) << test::golden_root();
}

}  // namespace
}  // namespace zoetrope
