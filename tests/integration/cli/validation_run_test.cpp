// Validation within a run: a causal student of few steps is sampled as it was trained, and as
// `zoetrope sample` samples its export without being told how.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/media/video_reader.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;

const std::string kTinyWan = std::string(ZOETROPE_SOURCE_DIR) + "/assets/tiny-wan";
constexpr int kSize = 32;
constexpr size_t kNumFrames = 29;  // eight latent frames, where the training has three

class ValidationRun : public testing::Test {
 protected:
  void train() {
    const CommandResult made = run_zoetrope(
        {"preprocess", "synthetic:shapes", "-o", (folder_ / "data").string(), "-m", kTinyWan,
         "--height", "32", "--width", "32", "--num-frames", "9", "--num-clips", "2"});
    ASSERT_EQ(made.exit_code, 0) << made.messages;
    std::ofstream(folder_ / "prompts.json") << R"({"data": [{"caption": "a red square"}]})";
    std::ofstream(folder_ / "run.yaml")
        << "models:\n  student: {_target_: wan_causal, num_frames_per_block: 1, init_from: "
        << kTinyWan << "}\n  teacher: {_target_: wan, trainable: false, init_from: " << kTinyWan
        << "}\n  critic: {_target_: wan, init_from: " << kTinyWan << "}\n"
        << kMethod << "training:\n  data: {data_path: " << (folder_ / "data").string()
        << ", num_latent_t: 3, num_height: " << kSize << ", num_width: " << kSize
        << ", train_batch_size: 1, seed: 5}\n  optimizer: {learning_rate: 1.0e-3}\n  loop: "
           "{max_train_steps: 1}\n  checkpoint: {output_dir: "
        << out_.string()
        << "}\n  tracker: {trackers: [jsonl]}\n  model: {compute_dtype: fp32}\n"
           "pipeline: {dit_config: {local_attn_size: 3, sink_size: 1}}\n"
           "callbacks:\n  validation: {pipeline_target: WanCausalDMDPipeline, dataset_file: "
        << (folder_ / "prompts.json").string()
        << ", every_steps: 1, run_at_start: false, loss_num_samples: 0, num_frames: " << kNumFrames
        << "}\n";
    const CommandResult result = run_zoetrope({"train", (folder_ / "run.yaml").string()});
    ASSERT_EQ(result.exit_code, 0) << result.messages;
  }

  std::vector<media::Frame> sample(std::vector<std::string> options) {
    options.insert(
        options.begin(),
        {"sample", (out_ / "diffusers").string(), "--prompt", "a red square", "--pipeline",
         "wan-causal-dmd", "--warp", "--seed", "5", "--height", "32", "--width", "32",
         "--num-frames", std::to_string(kNumFrames), "--output", (folder_ / "sampled").string()});
    const CommandResult result = run_zoetrope(options);
    EXPECT_EQ(result.exit_code, 0) << result.messages;
    return media::read_all_frames(folder_ / "sampled/video_0.mp4");
  }

  static constexpr const char* kMethod = R"(method:
  _target_: self_forcing
  rollout_mode: simulate
  chunk_size: 1
  dmd_denoising_steps: [1000, 500]
  warp_denoising_step: true
  generator_update_interval: 1
  real_score_guidance_scale: 1.0
  fake_score_learning_rate: 1.0e-3
  fake_score_betas: [0.0, 0.99]
  fake_score_lr_scheduler: constant
)";

  TemporaryFolder folder_;
  fs::path out_ = folder_ / "out";
};

TEST_F(ValidationRun, ACausalStudentStreamsAtTheStepsOfItsMethod) {
  ASSERT_NO_FATAL_FAILURE(train());
  const fs::path video = out_ / "validation_step_1_inference_steps_2_rank_0_video_0.mp4";
  ASSERT_TRUE(fs::exists(video));
  EXPECT_TRUE(fs::exists(out_ / "validation_step_1_inference_steps_2.png"));
  const std::vector<media::Frame> validated = media::read_all_frames(video);
  EXPECT_EQ(validated.size(), kNumFrames);
  EXPECT_EQ(sample({"--steps", "1000,500"}), validated);
  EXPECT_NE(sample({"--steps", "1000,250"}), validated);
  EXPECT_NE(sample({"--steps", "1000,500", "--local-attn-size", "-1"}), validated);
}

}  // namespace
}  // namespace zoetrope::test
