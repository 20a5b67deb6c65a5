// Validation with the tiny pipeline that the project carries and students of two parameters.
#include "zoetrope/callbacks/validation.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/fake_causal_model.h"
#include "support/recording_tracker.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/methods/fine_tuning/fine_tune_method.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"

namespace zoetrope {
namespace {

using test::error_of;
using ::testing::ElementsAre;
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

/// Its velocity is that of its first parameter, which it notes.
class NotingStudent : public test::FakeModel {
 public:
  using FakeModel::FakeModel;
  DenoisingNetwork denoising_network() override {
    return [this](const at::Tensor& noisy_BCTHW, const at::Tensor& /*timestep_B*/,
                  const Conditioning& /*conditioning*/) {
      if (fails) fail<Error>("the network fails");
      seen.push_back(parameters().value("scale").item<float>());
      return seen.back() * noisy_BCTHW;
    };
  }

  std::vector<float> seen;
  bool fails = false;
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

TEST_F(ValidationTest, MeasuresTheAverageWhereThereIsOne) {
  const auto method = method_of(std::make_unique<NotingStudent>(random_));
  auto& student = dynamic_cast<NotingStudent&>(method->student());
  config_.sampling_steps = {2};
  config_.guidance_scale = 1.0;
  config_.loss_num_samples = 1;
  config_.loss_num_timestep_bins = 1;
  context_.data.data_path.sources = {
      {std::string(ZOETROPE_SOURCE_DIR) + "/tests/golden/reference/_data/t2v", 1}};
  ValidationCallback validation(config_, context_);
  const auto validate = [&](int64_t step, ExponentialMovingAverage* average) {
    student.seen.clear();
    RunState run{*method, tracker_, step, average};
    validation.on_validation_begin(run);
    return tracker_.values[step].at("validation/loss");
  };
  const auto weights = [&] { return student.parameters().groups()[0].flat_master.clone(); };

  ExponentialMovingAverage average(student.parameters(), 0.9);
  const double loss_of_average = validate(1, nullptr);
  const float averaged_scale = student.seen.front();
  student.parameters().load({{"scale", at::full({1}, 0.3)}, {"offset", at::full({1}, -0.7)}});
  const at::Tensor live = weights();
  EXPECT_NE(validate(2, nullptr), loss_of_average);
  EXPECT_THAT(student.seen, ElementsAre(0.3F, 0.3F));

  EXPECT_EQ(validate(3, &average), loss_of_average);
  EXPECT_THAT(student.seen, ElementsAre(averaged_scale, averaged_scale));
  EXPECT_TRUE(at::equal(weights(), live));
  EXPECT_EQ(student.parameters().value("scale").item<float>(), 0.3F);
  EXPECT_EQ(average.tensors().front().second.item<float>(), averaged_scale);

  student.fails = true;
  EXPECT_THROW(validate(4, &average), Error);
  EXPECT_TRUE(at::equal(weights(), live));
}

}  // namespace
}  // namespace zoetrope
