// Replays every recorded training run of the reference whose models and method are built through
// the real trainer, loader, method and callbacks: only the random draws are the recorded ones.
// Losses, metrics, intermediate results, gradients, parameters and EMA after every step. Where the
// reference also wrote a checkpoint and recorded how it went on from there (`resume_trace`), ours
// goes on from that checkpoint, too.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "golden/training/recorded_trajectories.h"
#include "golden/training/trace_checker.h"
#include "support/golden.h"
#include "support/replay_random_source.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/catalog.h"
#include "zoetrope/checkpoint/checkpoint_folder.h"
#include "zoetrope/config/overrides.h"
#include "zoetrope/models/wan_game/wan_game_causal_model.h"
#include "zoetrope/models/wan_game/wan_game_model.h"
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

  void replay(const GoldenCase& golden, Implementation implementation,
              const std::string& resume_from);

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

/// The reference rounds the timesteps of whole passes of its game networks to bf16, and only there:
/// its noise and conversions have the exact ones. Ours does not round; these do, to be compared.
template <class Model>
class WithRoundedTimesteps : public Model {
 public:
  using Model::Model;
  at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                           const Conditioning& conditioning) override {
    return Model::predict_noise(noisy_BTCHW, timestep.to(at::kBFloat16).to(at::kFloat),
                                conditioning);
  }
};

const std::string kRounded = "rounded.";

/// Adds the models above to the catalog, as `rounded.<name>`.
void add_rounded_models(Catalog& catalog) {
  auto& models = catalog.registries.models;
  models.add<WithRoundedTimesteps<WanGameModel>, WanModelConfig>(
      kRounded + models.find("wan_game")->name, {}, "");
  models
      .add<WithRoundedTimesteps<WanGameCausalModel>, WanCausalModelConfig>(
          kRounded + models.find("wan_game_causal")->name, {}, "")
      .causal = true;
}

void round_timesteps(const Catalog& catalog, RunConfig& config) {
  for (auto& [role, component] : config.models) {
    const config::Target* rounded =
        catalog.registries.models.find(kRounded + component.target->name);
    if (rounded != nullptr) component.target = rounded;
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

void TrainingReplay::replay(const GoldenCase& golden, Implementation implementation,
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
  follow_text_links(document);
  const auto trajectories = output / "trajectories";
  if (test::has_trajectories(golden))
    config::apply_overrides(document, {"--method.teacher_path_cache=" + trajectories.string()});
  Catalog catalog;
  add_rounded_models(catalog);
  const ComponentRegistries& registries = catalog.registries;
  config::Issues issues;
  RunConfig config = read_run_config(document, catalog.tables(), issues);
  issues.throw_if_any();
  round_timesteps(catalog, config);

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
  callbacks.emplace_back("trace", std::move(checker));
  const TrainingData data = build_data(config, *method);
  RecordingTracker tracker;
  RunCheckpoints checkpoints(checkpoint_options(config));
  Trainer trainer(
      {config.training.loop.max_train_steps, config.training.loop.gradient_accumulation_steps},
      {*method, *data.loader, callbacks, tracker, checkpoints});
  trainer.run();

  expect_metrics(golden, tracker, bf16 ? kBf16LossTolerance : checked.loss_tolerance());
  EXPECT_TRUE(random.empty()) << "recorded draws are left over";
  if (!bf16) {
    EXPECT_GT(checked.num_compared(), 0);
  }
}

TEST_P(TrainingReplay, MatchesTheReference) {
  const auto& [folder, implementation] = GetParam();
  replay(GoldenCase(std::filesystem::absolute(folder)), implementation, "");
}

class TrainingResume : public TrainingReplay {};

TEST_P(TrainingResume, GoesOnFromTheCheckpointOfTheReference) {
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

INSTANTIATE_TEST_SUITE_P(Golden, TrainingReplay,
                         testing::Combine(testing::ValuesIn(training_cases()), kImplementations),
                         replay_name);
INSTANTIATE_TEST_SUITE_P(Golden, TrainingResume,
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

INSTANTIATE_TEST_SUITE_P(Golden, ShardedCheckpoint, testing::ValuesIn(sharded_cases()),
                         test::golden_test_name);

TEST(TrainingCases, AreThere) {
  EXPECT_FALSE(sharded_cases().empty()) << test::golden_root();
  EXPECT_FALSE(training_cases().empty()) << test::golden_root();
  EXPECT_FALSE(resume_cases().empty()) << test::golden_root();
}

}  // namespace
}  // namespace zoetrope
