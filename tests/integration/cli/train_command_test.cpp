// `train`: its arguments, and what a dry run prints.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/train_arguments.h"

namespace zoetrope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class TrainCommand : public ::testing::Test {
 protected:
  TrainCommand() : path_((folder_ / "run.yaml").string()) {
    std::ofstream(path_) << R"(models: {student: {_target_: wan, init_from: Org/Name}}
method: {_target_: fine_tune}
training:
  data: {data_path: a, num_latent_t: 5}
  optimizer: {learning_rate: 1e-5}
  loop: {max_train_steps: 3}
  checkpoint: {output_dir: out}
)";
  }

  test::TemporaryFolder folder_;
  std::string path_;
};

TEST(TrainArguments, tell_overrides_from_options) {
  const auto split = split_train_arguments(
      {"--a.b", "--dry-run", "run.yaml", "--c.d=e", "--dry-run", "--f", "1", "--config=x.yaml"});
  EXPECT_THAT(split.own, ElementsAre("run.yaml", "--dry-run", "--config=x.yaml"));
  EXPECT_THAT(split.overrides, ElementsAre("--a.b", "--dry-run", "--c.d=e", "--f", "1"));
  EXPECT_THAT(split_train_arguments({"--config", "x", "--a.b"}).overrides, ElementsAre("--a.b"));
}

TEST_F(TrainCommand, dry_run_prints_the_resolved_config_which_is_valid) {
  const auto result = test::run_zoetrope({"train", path_, "--training.data.seed", "7", "--dry-run",
                                          "--training.optimizer.betas=[0.8, 0.9]"});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.output, HasSubstr("    seed: 7\n"));
  EXPECT_THAT(result.output, HasSubstr("    betas: [0.8, 0.9]\n"));
  EXPECT_THAT(result.output, HasSubstr("    learning_rate: 1.0e-05\n"));
  EXPECT_THAT(result.output, HasSubstr("_target_: fastvideo.train.models.wan.wan.WanModel\n"));

  const std::string resolved = (folder_ / "resolved.yaml").string();
  std::ofstream(resolved) << result.output;
  EXPECT_EQ(test::run_zoetrope({"validate", resolved}).output, resolved + ": ok\n");
  EXPECT_EQ(test::run_zoetrope({"train", "--config", resolved, "--dry-run"}).output, result.output);
}

TEST_F(TrainCommand, names_a_wrong_override) {
  const auto typo = test::run_zoetrope({"train", path_, "--training.loop.max_train_stpes", "5"});
  EXPECT_EQ(typo.exit_code, 1);
  EXPECT_EQ(typo.messages,
            "zoetrope: --training.loop.max_train_stpes: must be a known key, but got "
            "'max_train_stpes'; did you mean "
            "'max_train_steps'?\n");
  EXPECT_THAT(typo.output, IsEmpty());
  const auto valueless = test::run_zoetrope({"train", path_, "--training.loop.max_train_steps"});
  EXPECT_EQ(valueless.exit_code, 1);
  EXPECT_THAT(valueless.messages, HasSubstr("an override must have a value, but none follows"));
}

TEST_F(TrainCommand, names_a_missing_file) {
  const auto absent = test::run_zoetrope({"train", "absent.yaml"});
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_EQ(absent.messages,
            "zoetrope: absent.yaml: must be a config file, but there is no such file\n");
  EXPECT_EQ(test::run_zoetrope({"train"}).exit_code, 1);
  EXPECT_EQ(test::run_zoetrope({"train", path_, "second.yaml", "--dry-run"}).exit_code, 1);
}

TEST(Commands, explain_themselves_with_examples) {
  for (const char* command : {"train", "validate", "targets", "version"}) {
    const auto result = test::run_zoetrope({command, "--help"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.output, HasSubstr("Examples:")) << command;
  }
  EXPECT_THAT(test::run_zoetrope({"version"}).output, StartsWith("zoetrope "));
  EXPECT_EQ(test::run_zoetrope({}).exit_code, 1);
  EXPECT_EQ(test::run_zoetrope({"trian"}).exit_code, 1);
}

}  // namespace
}  // namespace zoetrope
