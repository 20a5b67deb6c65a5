// Two ranks of the reference, recorded, against two of ours: each takes its recorded draws.
#include <cmath>
#include <filesystem>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/golden.h"
#include "support/ranks.h"
#include "support/recording_tracker.h"
#include "support/replay_random_source.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/catalog.h"
#include "zoetrope/config/overrides.h"
#include "zoetrope/tensor/safetensors.h"
#include "zoetrope/train/builder.h"
#include "zoetrope/train/trainer.h"

namespace zoetrope {
namespace {

using nlohmann::json;

const std::filesystem::path kCase = "c09c_2rank_replicate";

constexpr double kTolerance = 1e-5;

struct Recording {
  explicit Recording(int64_t rank)
      : steps(json::parse(read_file(kCase / fmt::format("trace_rank{}.json", rank)))["steps"]),
        tensors(kCase / fmt::format("trace_rank{}.safetensors", rank)) {}
  json steps;
  SafetensorsFile tensors;
};

class RecordedRanks : public testing::TestWithParam<MeshSizes> {
 public:
  ~RecordedRanks() override { std::filesystem::current_path(working_folder_); }

 protected:
  RecordedRanks() { std::filesystem::current_path(test::reference_root()); }

 private:
  std::filesystem::path working_folder_ = std::filesystem::current_path();
};

TEST_P(RecordedRanks, TwoRanksTrainAsTheReferences) {
  test::RecordingTracker logged;
  NamedTensors weights;
  const test::TemporaryFolder output;
  run_ranks(GetParam(), [&](const Mesh& rank_mesh) {
    const auto mesh = std::make_shared<const Mesh>(rank_mesh);
    config::Node document = config::parse_yaml_file(kCase / "config.yaml");
    config::apply_overrides(
        document, {"--training.data.sampler=fastvideo", "--training.distributed.device=cpu",
                   "--training.model.compute_dtype=fp32",
                   "--training.checkpoint.training_state_checkpointing_steps=0",
                   "--training.checkpoint.output_dir=" + output.path().string()});
    const Catalog catalog;
    config::Issues issues;
    const RunConfig config = read_run_config(document, catalog.tables(), issues);
    issues.throw_if_any();
    test::ReplayRandomSource random(config.training.model.logit_mean,
                                    config.training.model.logit_std);
    const Recording recording(mesh->rank);
    for (const json& step : recording.steps) {
      for (const json& event : step["events"]) {
        if (event["kind"] == "rng")
          random.push({event["fn"], recording.tensors.tensor(event["key"].get<std::string>())});
      }
    }
    const auto method = build_method(config, catalog.registries, random, mesh);
    NamedCallbacks callbacks = build_callbacks(config, catalog.registries, *method, mesh);
    const TrainingData data = build_data(config, *method, *mesh);
    test::RecordingTracker tracker;
    RunCheckpoints checkpoints(checkpoint_options(config, mesh));
    Trainer(
        {config.training.loop.max_train_steps, config.training.loop.gradient_accumulation_steps},
        {*method, *data.loader, callbacks, tracker, checkpoints, mesh})
        .run();
    EXPECT_TRUE(random.empty()) << "recorded draws are left over";
    NamedTensors whole = method->student().parameters().tensors();
    if (mesh->rank != 0) return;
    logged = std::move(tracker);
    for (auto& [name, tensor] : whole) weights.emplace_back(name, tensor.clone());
  });
  const Recording first(0);
  const Recording second(1);
  ASSERT_EQ(logged.values.size(), first.steps.size());
  for (size_t i = 0; i < first.steps.size(); ++i) {
    // The reference logs a rank's own loss.
    const auto loss_of = [&](const Recording& rank) {
      return rank.steps[i]["trainer_metrics"]["total_loss"].get<double>();
    };
    const double expected = (loss_of(first) + loss_of(second)) / 2;
    const auto& metrics = logged.values.at(first.steps[i]["step"]);
    EXPECT_NEAR(metrics.at("total_loss"), expected, kTolerance * expected);
    // On copies of all parameters its norm is the whole one, as ours is in any layout.
    const auto norm =
        first.steps[i]["grads_before_clip"]["student"]["total_norm_fp64"].get<double>();
    EXPECT_NEAR(metrics.at("grad_norm/student"), norm, kTolerance * norm);
  }
  size_t num_compared = 0;
  const json& last = first.steps.back();
  for (const auto& [name, weight] : weights) {
    const auto squares = last["params_after"]["student"][name]["sq"].get<double>();
    const double norm = std::sqrt(squares);
    EXPECT_NEAR(weight.to(at::kDouble).norm().item<double>(), norm, kTolerance * norm) << name;
    const std::string key = fmt::format("s{}.param.student.{}", last["step"].get<int64_t>(), name);
    if (!first.tensors.entries().contains(key)) continue;
    const at::Tensor recorded = first.tensors.tensor(key);
    EXPECT_LT(((weight - recorded).norm() / recorded.norm()).item<double>(), kTolerance) << name;
    ++num_compared;
  }
  EXPECT_GT(num_compared, 0U);
}

INSTANTIATE_TEST_SUITE_P(Layouts, RecordedRanks,
                         testing::Values(MeshSizes{.replicate = 2}, MeshSizes{.shard = 2}),
                         [](const auto& info) {
                           return info.param.shard > 1 ? "Sharded" : "Replicated";
                         });

}  // namespace
}  // namespace zoetrope
