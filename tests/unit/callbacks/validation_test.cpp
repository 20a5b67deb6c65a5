// Validation with the tiny pipeline that the project carries and students of two parameters.
#include "zoetrope/callbacks/validation.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/fake_causal_model.h"
#include "support/recording_tracker.h"
#include "support/temporary_folder.h"
#include "zoetrope/methods/fine_tuning/fine_tune_method.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"

namespace zoetrope {
namespace {

using test::error_of;
using ::testing::HasSubstr;

/// Knows the positions of four latent frames.
class ShortStudent : public test::FakeCausalModel {
 public:
  using FakeCausalModel::FakeCausalModel;
  StreamingNetwork streaming_network(int64_t /*num_frames*/) override {
    StreamingNetwork network;
    network.max_frames = 4;
    return network;
  }
};

class ValidationTest : public testing::Test {
 protected:
  ValidationTest() {
    std::ofstream(folder_ / "prompts.json") << R"({"data": [{"caption": "a red square"}]})";
    config_.dataset_file = (folder_ / "prompts.json").string();
    config_.every_steps = 1;
    config_.loss_num_samples = 0;
    context_.output_dir = folder_ / "out";
    context_.pipeline_folder = ZOETROPE_SOURCE_DIR "/assets/tiny-wan";
    context_.data.num_latent_t = 2;
    context_.data.num_height = 16;
    context_.data.num_width = 16;
  }

  std::unique_ptr<TrainingMethod> method_of(std::unique_ptr<ModelBase> student) {
    MethodContext context;
    context.roles.add("student", std::move(student));
    context.optimizer.learning_rate = 0.1;
    context.max_train_steps = 1;
    context.random = &random_;
    return std::make_unique<FineTuneMethod>(FineTuneConfig{}, std::move(context));
  }

  test::TemporaryFolder folder_;
  KeyedRandomSource random_{3};
  ValidationConfig config_;
  CallbackContext context_;
  test::RecordingTracker tracker_;
};

TEST_F(ValidationTest, RefusesVideosBeyondTheKnownPositionsWhenTrainingStarts) {
  const auto method = method_of(std::make_unique<ShortStudent>(random_, 1));
  config_.pipeline_target = "WanCausalPipeline";
  const auto start = [&] {
    RunState run{*method, tracker_};
    ValidationCallback(config_, context_).on_train_start(run);
  };
  config_.num_frames = 13;
  EXPECT_EQ(error_of(start), "no error");
  config_.num_frames = 17;
  EXPECT_THAT(error_of(start),
              HasSubstr("callbacks.validation.num_frames: must be at most 13, since the network "
                        "knows the positions of 4 latent frames (rope_max_seq_len), but is 17"));
}

}  // namespace
}  // namespace zoetrope
