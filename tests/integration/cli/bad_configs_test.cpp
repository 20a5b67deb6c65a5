// What the command says about bad configs: the whole message of each, and exit code 1.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"

namespace zoetrope {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kGood = R"(models:
  student:
    _target_: fastvideo.train.models.wan.WanModel
    init_from: Org/Name
method:
  _target_: fastvideo.train.methods.fine_tuning.finetune.FineTuneMethod
training:
  data: {data_path: absent/data, num_latent_t: 5}
  optimizer:
    learning_rate: 1e-5
  loop: {max_train_steps: 3}
  checkpoint: {output_dir: out}
callbacks:
  grad_clip:
    max_grad_norm: 0
)";

class BadConfigs : public ::testing::Test {
 protected:
  /// Writes a config and gives its path; `from` is replaced by `to` in the good one.
  std::string write(const std::string& from, const std::string& to) {
    std::string text = kGood;
    if (!from.empty()) text.replace(text.find(from), from.size(), to);
    return write_text(text);
  }
  std::string write_text(const std::string& text) {
    std::string path = (folder_ / "run.yaml").string();
    std::ofstream(path) << text;
    return path;
  }
  /// What `validate` prints about the one fault of `path`.
  std::string only_fault(const std::string& path) {
    const test::CommandResult result = test::run_zoetrope({"validate", path});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.messages, "");
    const std::string start = path + ": 1 fault\n  ";
    EXPECT_EQ(result.output.substr(0, start.size()), start);
    return result.output.substr(std::min(start.size(), result.output.size()));
  }

  test::TemporaryFolder folder_;
};

TEST_F(BadConfigs, roles_that_a_method_cannot_use) {
  const std::string method = "fine_tuning.finetune.FineTuneMethod";
  EXPECT_THAT(only_fault(write(method, "fine_tuning.tfsft.TeacherForcingSFTMethod")),
              HasSubstr("models.student: must be a causal model for TeacherForcingSFTMethod, but "
                        "WanModel is bidirectional"));
  EXPECT_THAT(
      only_fault(write("    init_from: Org/Name", "    init_from: Org/Name\n    trainable: false")),
      HasSubstr("models.student: must have trainable: true for FineTuneMethod, but has false"));
}

// FastVideo's defaults where the file says nothing: a learning rate of 0, chunks of 3 frames.
constexpr const char* kBadDistillation = R"(models:
  student:
    _target_: fastvideo.train.models.wan.WanCausalModel
    init_from: Org/Name
    num_frames_per_block: 1
  teacher: {_target_: fastvideo.train.models.wan.WanModel, init_from: Org/Name, trainable: false}
  critic: {_target_: fastvideo.train.models.wan.WanModel, init_from: Org/Name}
method:
  _target_: METHOD
  rollout_mode: simulate
  dmd_denoising_steps: [750, 500, 250]
  fake_score_learning_rate: 1e-5
  fake_score_betas: [0, 0.999]
  fake_score_lr_scheduler: constant
  min_timestep_ratio: 0.98
  max_timestep_ratio: 0.02
OTHERS
training:
  data: {data_path: absent/data, num_latent_t: 6, preprocessed_data_type: text_only}
  loop: {max_train_steps: 3}
  checkpoint: {output_dir: out}
)";

class BadDistillation : public BadConfigs {
 protected:
  /// The faults of a method of the family, in order, without the file's name.
  std::vector<std::string> faults(const std::string& method, const std::string& others) {
    std::string text = kBadDistillation;
    for (const auto& [from, to] :
         {std::pair<std::string, std::string>{"METHOD", method}, {"OTHERS\n", others}})
      text.replace(text.find(from), from.size(), to);
    const std::string path = write_text(text);
    const test::CommandResult result = test::run_zoetrope({"validate", path});
    EXPECT_EQ(result.exit_code, 1);
    std::vector<std::string> found;
    const std::string start = "  " + path + ":";
    std::istringstream lines(result.output);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(start)) found.push_back(line.substr(start.size()));
    }
    return found;
  }
};

TEST_F(BadDistillation, self_forcing) {
  EXPECT_THAT(
      faults("self_forcing", "  enable_gradient_in_rollout: false\n  start_gradient_frame: 6\n"),
      ElementsAre(
          HasSubstr("8: method.chunk_size: must be the student's num_frames_per_block, which is 1, "
                    "but got 3"),
          HasSubstr("11: method.dmd_denoising_steps: must begin with 990 or above"),
          HasSubstr("15: method.min_timestep_ratio: must be at most max_timestep_ratio"),
          HasSubstr("17: method.enable_gradient_in_rollout: must be true"),
          HasSubstr("18: method.start_gradient_frame: must be at most 3"),
          HasSubstr("19: training.optimizer.learning_rate: must be greater than 0 for "
                    "SelfForcingMethod")));
}

TEST_F(BadDistillation, streaming_long_tuning) {
  EXPECT_THAT(faults("streaming_long_tuning",
                     "  chunk_size: 2\n  multi_phased_distill_schedule: '10:4,20:8'\n"
                     "  start_gradient_frame: 3\n"),
              ElementsAre(HasSubstr("11: method.dmd_denoising_steps"),
                          HasSubstr("15: method.min_timestep_ratio"),
                          HasSubstr("17: method.chunk_size: must be the student's"),
                          HasSubstr("18: method.multi_phased_distill_schedule[1]: clips must have"),
                          HasSubstr("19: method.start_gradient_frame: must be at most 2"),
                          HasSubstr("training.optimizer.learning_rate")));
}

TEST_F(BadDistillation, dmd2) {
  EXPECT_THAT(faults("dmd2", ""), ElementsAre(HasSubstr("11: method.dmd_denoising_steps"),
                                              HasSubstr("15: method.min_timestep_ratio"),
                                              HasSubstr("training.optimizer.learning_rate")));
  std::string text = kBadDistillation;
  text.replace(text.find("METHOD"), 6, "dmd2");
  text.replace(text.find("OTHERS\n"), 7, "");
  text.replace(text.find("simulate"), 8, "data_latent");
  text.replace(text.find("min_timestep_ratio: 0.98"), 24, "min_timestep_ratio: 0.02");
  text.replace(text.find("training:\n"), 10, "training:\n  optimizer: {learning_rate: 1e-5}\n");
  EXPECT_THAT(only_fault(write_text(text)),
              HasSubstr(":10: method.rollout_mode: must be simulate for data without latents, but "
                        "got data_latent"));
  text.replace(text.find("wan.WanCausalModel"), 18,
               "matrixgame2.matrixgame2_causal.MatrixGame2CausalModel");
  EXPECT_EQ(test::run_zoetrope({"validate", write_text(text)}).exit_code, 0)
      << "game networks read rows with latents whatever is asked for";
}

TEST_F(BadConfigs, roles_of_consistency_distillation_with_blocks_of_other_sizes) {
  std::string text = kGood;
  const std::string wan = "fastvideo.train.models.wan.WanModel\n    init_from: Org/Name";
  text.replace(text.find(wan), wan.size(),
               "wan_causal\n    init_from: Org/Name\n    num_frames_per_block: 1\n"
               "  teacher: {_target_: wan_causal, init_from: x, trainable: false, "
               "num_frames_per_block: 3}\n"
               "  ema: {_target_: wan_causal, init_from: x, trainable: false, "
               "num_frames_per_block: 1}");
  const std::string method = "fastvideo.train.methods.fine_tuning.finetune.FineTuneMethod";
  text.replace(text.find(method), method.size(), "causal_cd");
  EXPECT_THAT(only_fault(write_text(text)),
              HasSubstr("method: models.teacher must have the num_frames_per_block of "
                        "models.student, which is 1, but has 3"));
}

TEST_F(BadConfigs, fine_tuning_on_text_alone) {
  for (const char* method :
       {"fine_tuning.finetune.FineTuneMethod", "fine_tuning.dfsft.DiffusionForcingSFTMethod"}) {
    std::string text = kGood;
    text.replace(text.find("fine_tuning.finetune.FineTuneMethod"), 35, method);
    text.replace(text.find("num_latent_t: 5"), 15,
                 "num_latent_t: 5, preprocessed_data_type: text_only");
    EXPECT_THAT(only_fault(write_text(text)), HasSubstr("method: must have data with videos"));
  }
}

TEST_F(BadConfigs, a_good_one_passes) {
  const std::string path = write("", "");
  const test::CommandResult result = test::run_zoetrope({"validate", path});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output, path + ": ok\n");
  EXPECT_EQ(result.messages, "");
}

TEST_F(BadConfigs, no_file_a_folder_nothing_in_it) {
  const std::string absent = (folder_ / "absent.yaml").string();
  EXPECT_EQ(only_fault(absent), absent + ": must be a config file, but there is no such file\n");
  const std::string folder = folder_.path().string();
  EXPECT_EQ(only_fault(folder), folder + ": must be a config file, but it is a folder\n");
  const std::string empty = write_text("");
  EXPECT_EQ(only_fault(empty), empty + ": must hold a config, but it is empty\n");
}

TEST_F(BadConfigs, not_yaml) {
  const std::string tabs = write_text("models:\n\tstudent: {}\n");
  EXPECT_EQ(only_fault(tabs),
            tabs + ":2: lines must be indented with spaces, but this one has a tab\n");
  const std::string open = write_text("models: {student: [1, 2}\n");
  EXPECT_THAT(only_fault(open), HasSubstr(open + ":1: must be YAML, but "));
  const std::string bytes = write_text(std::string("PAR1\0\x01\x02\xff", 8));
  EXPECT_EQ(test::run_zoetrope({"validate", bytes}).exit_code, 1);
}

TEST_F(BadConfigs, unknown_and_planned_targets) {
  const std::string unknown = write("wan.WanModel", "wan.WanModle");
  EXPECT_EQ(only_fault(unknown), unknown +
                                     ":3: models.student._target_: must be a known model, but got "
                                     "'fastvideo.train.models.wan.WanModle'; did you mean "
                                     "'fastvideo.train.models.wan.WanModel'?\n");
  const std::string planned =
      write("fine_tuning.finetune.FineTuneMethod", "rl.diffusion_nft.DiffusionNFTMethod");
  EXPECT_EQ(only_fault(planned),
            planned +
                ":6: method._target_: must be a method that can be used, but "
                "'fastvideo.train.methods.rl.diffusion_nft.DiffusionNFTMethod' is not built yet\n");
}

TEST_F(BadConfigs, typo_wrong_type_missing_key_out_of_range) {
  const std::string typo = write("learning_rate", "lerning_rate");
  EXPECT_EQ(
      only_fault(typo),
      typo +
          ":10: training.optimizer.lerning_rate: must be a known key, but got 'lerning_rate'; "
          "did you mean 'learning_rate'?\n");
  const std::string type = write("max_train_steps: 3", "max_train_steps: many");
  EXPECT_EQ(
      only_fault(type),
      type + ":11: training.loop.max_train_steps: must be an integer, but got the text 'many'\n");
  const std::string missing = write("    init_from: Org/Name\n", "");
  EXPECT_THAT(only_fault(missing),
              HasSubstr(missing + ":2: models.student.init_from: must be given, but is missing; "));
  const std::string range = write("learning_rate: 1e-5", "learning_rate: -1e-5");
  EXPECT_EQ(
      only_fault(range),
      range +
          ":10: training.optimizer.learning_rate: must be at least 0, but got the number -1e-5\n");
}

TEST_F(BadConfigs, two_faults_are_both_listed_with_their_lines) {
  const std::string path = write("num_latent_t: 5}\n  optimizer", "num_latent_t: 0}\n  optimiser");
  const test::CommandResult result = test::run_zoetrope({"validate", path});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.output,
            path + ": 2 faults\n  " + path +
                ":8: training.data.num_latent_t: must be at least 1, but got the number 0\n  " +
                path +
                ":9: training.optimiser: must be a known key, but got 'optimiser'; did you mean "
                "'optimizer'?\n");
}

TEST_F(BadConfigs, every_file_of_several_is_reported) {
  const std::string good = write("", "");
  const std::string absent = (folder_ / "absent.yaml").string();
  const test::CommandResult result = test::run_zoetrope({"validate", absent, good});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr(absent + ": 1 fault\n"));
  EXPECT_THAT(result.output, HasSubstr(good + ": ok\n"));
}

TEST_F(BadConfigs, paths_are_looked_up_only_when_asked) {
  const std::string path = write("", "");
  const test::CommandResult result = test::run_zoetrope({"validate", "--check-paths", path});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(
      result.output,
      HasSubstr(path + ":4: models.student.init_from: Org/Name: must be a local folder or a model "
                       "in the Hugging Face cache "));
  EXPECT_THAT(result.output, HasSubstr("hf download Org/Name\n"));
  EXPECT_THAT(
      result.output,
      HasSubstr(path + ":8: training.data.data_path: must be an existing folder, but there is no "
                       "'absent/data'\n"));
}

// The tiny Wan has 2 heads and 64 features of its feed-forward, the data ten samples.
TEST_F(BadConfigs, ranks_that_cannot_share_the_networks_or_the_data) {
  const std::string reference = std::string(ZOETROPE_SOURCE_DIR) + "/tests/golden/reference/";
  const auto faults = [&](const std::string& distributed) {
    std::string text = kGood;
    for (const auto& [from, to] :
         {std::pair<std::string, std::string>{"Org/Name", reference + "_models/wan_a"},
          {"absent/data", reference + "_data/t2v"},
          {"  optimizer:", "  distributed: {" + distributed + "}\n  optimizer:"}})
      text.replace(text.find(from), from.size(), to);
    const auto result = test::run_zoetrope({"validate", "--check-paths", write_text(text)});
    EXPECT_EQ(result.exit_code, result.output.ends_with(": ok\n") ? 0 : 1);
    return result.output;
  };
  EXPECT_THAT(faults("num_gpus: 4, sp_size: 4"),
              AllOf(HasSubstr("1 fault\n"),
                    HasSubstr("models.student: sequence and tensor parallelism: ranks share the "
                              "attention heads, so sp_size x tp_size must divide the network's 2 "
                              "heads, but is 4 x 1")));
  EXPECT_THAT(faults("num_gpus: 4, sp_size: 2, tp_size: 2"), HasSubstr("but is 2 x 2"));
  EXPECT_THAT(faults("num_gpus: 10, sp_size: 1"), HasSubstr(": ok\n"));
  EXPECT_THAT(
      faults("num_gpus: 22, sp_size: 2"),
      AllOf(HasSubstr("1 fault\n"),
            HasSubstr("training.data.data_path: must have a sample for each of the 11 groups of "
                      "ranks that read different ones (22 ranks, sp_size 2, tp_size 1), but has "
                      "10; use fewer ranks or a larger sp_size")));
  EXPECT_THAT(faults("num_gpus: 33, sp_size: 1, tp_size: 3"),
              AllOf(HasSubstr("2 faults\n"), HasSubstr("but is 1 x 3"),
                    HasSubstr("each of the 11 groups")));
}

TEST_F(BadConfigs, validating_costs_little_more_than_starting) {
  const std::string path = write("", "");
  double validating_sec = 1e9;
  double starting_sec = 1e9;
  for (int i = 0; i < 5; ++i) {
    validating_sec = std::min(validating_sec, test::run_zoetrope({"validate", path}).cpu_sec);
    starting_sec = std::min(starting_sec, test::run_zoetrope({"version"}).cpu_sec);
  }
  // Loading the libraries takes 0.2 s on one processor and 0.5 s on another, where noise grows,
  // too.
  EXPECT_LT(validating_sec - starting_sec, std::max(0.05, 0.2 * starting_sec))
      << "starting alone takes " << starting_sec;
}

}  // namespace
}  // namespace zoetrope
