// The recorded run of streaming long tuning, with our own random numbers: stopped within a clip and
// resumed, it goes on with the same bits as undisturbed.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/recording_tracker.h"
#include "support/temporary_folder.h"
#include "zoetrope/catalog.h"
#include "zoetrope/config/overrides.h"
#include "zoetrope/models/wan/wan_model.h"
#include "zoetrope/train/builder.h"
#include "zoetrope/train/trainer.h"

namespace zoetrope {
namespace {

constexpr int64_t kNumSteps = 6;

class StreamingResume : public testing::Test {
 public:
  ~StreamingResume() override { std::filesystem::current_path(working_folder_); }

 protected:
  // Paths in the recorded config are relative to the folder of the cases.
  StreamingResume() { std::filesystem::current_path(test::reference_root()); }

  struct Result {
    test::RecordingTracker tracker;
    std::vector<at::Tensor> weights;
  };

  /// Trains up to `num_steps` in `output`, from its newest checkpoint if there is one.
  static std::unique_ptr<Result> train(const std::filesystem::path& output, int64_t num_steps) {
    config::Node document = config::parse_yaml_file("c08h_streaming_long/config.yaml");
    config::apply_overrides(
        document, {"--training.distributed.device=cpu", "--training.model.compute_dtype=fp32",
                   "--training.data.train_batch_size=2",
                   "--training.checkpoint.training_state_checkpointing_steps=1",
                   "--training.checkpoint.resume_from_checkpoint=latest",
                   "--training.checkpoint.output_dir=" + output.string()});
    const Catalog catalog;
    config::Issues issues;
    const RunConfig config = read_run_config(document, catalog.tables(), issues);
    issues.throw_if_any();
    KeyedRandomSource random(config.training.data.seed);
    const auto method = build_method(config, catalog.registries, random);
    const SafetensorsFile negative("_models/neg.safetensors");
    dynamic_cast<WanModel&>(method->student()).set_negative_text(negative.tensor("embeds"));
    NamedCallbacks callbacks = build_callbacks(config, catalog.registries, *method);
    const TrainingData data = build_data(config, *method);
    auto result = std::make_unique<Result>();
    RunCheckpoints checkpoints(checkpoint_options(config));
    Trainer({num_steps, 1}, {*method, *data.loader, callbacks, result->tracker, checkpoints}).run();
    for (RoleOptimizer* optimizer : method->role_optimizers()) {
      for (const ParameterGroup& group : optimizer->model().parameters().groups())
        result->weights.push_back(group.flat_master.clone());
    }
    return result;
  }

 private:
  std::filesystem::path working_folder_ = std::filesystem::current_path();
};

TEST_F(StreamingResume, GoesOnWithinAClipWithTheSameBits) {
  const test::TemporaryFolder folder;
  const auto whole = train(folder / "whole", kNumSteps);
  EXPECT_EQ(whole->tracker.values.at(3).at("streaming_current_length"), 6.0);
  for (const int64_t stop : {2, 3, 4}) {
    const auto output = folder / std::to_string(stop);
    train(output, stop);
    const auto resumed = train(output, kNumSteps);
    EXPECT_EQ(resumed->tracker.resumed_at, stop);
    ASSERT_EQ(resumed->weights.size(), whole->weights.size());
    for (size_t i = 0; i < whole->weights.size(); ++i)
      EXPECT_TRUE(at::equal(resumed->weights[i], whole->weights[i])) << stop << " group " << i;
    for (int64_t step = stop + 1; step <= kNumSteps; ++step) {
      for (const char* name :
           {"total_loss", "generator_loss", "streaming_current_length", "grad_norm/critic"}) {
        EXPECT_EQ(resumed->tracker.values.at(step)[name], whole->tracker.values.at(step)[name])
            << stop << " " << step << " " << name;
      }
    }
  }
}

}  // namespace
}  // namespace zoetrope
