// Runs with `stages` through the binary: folders, starting points, killing, going on, refusing.
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class StagedRun : public testing::Test {
 protected:
  StagedRun() : out_(folder_ / "out") {
    const fs::path reference = fs::path(ZOETROPE_SOURCE_DIR) / "tests/golden/reference";
    std::ofstream(folder_ / "run.yaml")
        << "models:\n  student: {_target_: wan_causal, init_from: "
        << (reference / "_models/wan_a").string()
        << "}\nmethod: {_target_: diffusion_forcing_sft, chunk_size: 3}\ntraining:\n  data: "
           "{data_path: "
        << (reference / "_data/t2v").string()
        << ", num_latent_t: 3, train_batch_size: 1, seed: 5}\n  optimizer: {learning_rate: "
           "1.0e-3}\n  loop: {max_train_steps: 3}\n  checkpoint: {output_dir: "
        << out_.string()
        << ", training_state_checkpointing_steps: 1}\n  tracker: {trackers: [jsonl]}\n  model: "
           "{compute_dtype: fp32}\ncallbacks:\n  ema: {decay: 0.5}\n"
        << kStages;
  }

  CommandResult train(std::vector<std::string> overrides = {}) const {
    std::vector<std::string> arguments = {"train", (folder_ / "run.yaml").string()};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    return run_zoetrope(arguments);
  }

  static void expect_equal_weights(const fs::path& a, const fs::path& b) {
    const WeightFolder first(a / "transformer");
    const WeightFolder second(b / "transformer");
    ASSERT_EQ(first.names(), second.names());
    for (const std::string& name : first.names())
      EXPECT_TRUE(at::equal(first.tensor(name), second.tensor(name))) << name;
  }

  // The second stage is a long one, so that it can be interrupted.
  static constexpr const char* kStages = R"(stages:
  forcing: {}
  tuning:
    models: {student: {init_from: 'stage:forcing:ema'}}
    method: {_target_: teacher_forcing_sft}
    training: {loop: {max_train_steps: 12}}
  last:
    models: {student: {_target_: wan}}
    method: {_target_: fine_tune}
)";

  TemporaryFolder folder_;
  fs::path out_;
};

TEST_F(StagedRun, TrainsEachStageInItsFolderFromTheOneBefore) {
  const CommandResult result = train();
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.messages,
              AllOf(HasSubstr("stage 1 of 3, forcing\n"), HasSubstr("stage 3 of 3, last\n"),
                    HasSubstr("1 sample an update = batch 1 x accumulation 1 x 1 rank")));
  for (const char* stage : {"01-forcing", "02-tuning", "03-last"}) {
    EXPECT_TRUE(fs::exists(out_ / stage / "diffusers/model_index.json")) << stage;
    EXPECT_TRUE(fs::exists(out_ / stage / "metrics.jsonl")) << stage;
  }
  EXPECT_EQ(run_zoetrope({"validate", (out_ / "config.yaml").string()}).exit_code, 0);

  // The second stage is what a plain config does from the export of the first.
  const fs::path plain = folder_ / "plain";
  std::string text = read_file(folder_ / "run.yaml");
  std::ofstream(folder_ / "run.yaml") << text.substr(0, text.find("stages:"));
  const CommandResult alone =
      train({"--training.checkpoint.output_dir=" + plain.string(),
             "--method._target_=teacher_forcing_sft", "--training.loop.max_train_steps=12",
             "--models.student.init_from=" + (out_ / "01-forcing/diffusers_ema").string()});
  ASSERT_EQ(alone.exit_code, 0) << alone.messages;
  expect_equal_weights(out_ / "02-tuning/diffusers", plain / "diffusers");
  expect_equal_weights(out_ / "02-tuning/diffusers_ema", plain / "diffusers_ema");
}

TEST_F(StagedRun, GoesOnWhereItWasKilled) {
  ASSERT_EQ(train({"--training.checkpoint.output_dir", (folder_ / "whole").string()}).exit_code, 0);
  const pid_t process = start_zoetrope({"train", (folder_ / "run.yaml").string()});
  const fs::path reached = out_ / "02-tuning/checkpoint-2";
  for (int i = 0; i < 6000 && !fs::exists(reached); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_EQ(kill(process, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(process, &status, 0), process);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_TRUE(fs::exists(reached));
  ASSERT_FALSE(fs::exists(out_ / "02-tuning/diffusers"));

  const CommandResult rest = train();
  ASSERT_EQ(rest.exit_code, 0) << rest.messages;
  EXPECT_THAT(rest.messages, AllOf(HasSubstr("stage 1 of 3, forcing: was finished before"),
                                   HasSubstr("resumed from " + (out_ / "02-tuning").string())));
  for (const char* stage : {"01-forcing", "02-tuning", "03-last"})
    expect_equal_weights(out_ / stage / "diffusers", folder_ / "whole" / stage / "diffusers");

  const CommandResult again = train({"--training.checkpoint.resume_from_checkpoint=latest"});
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.messages,
              AllOf(HasSubstr("stage 3 of 3, last: was finished before"), Not(HasSubstr("data:"))));
}

TEST_F(StagedRun, StopsInAStageWithTheSignalsStatus) {
  const pid_t process = start_zoetrope({"train", (folder_ / "run.yaml").string(),
                                        "--stages.tuning.training.loop.max_train_steps=100000"});
  const fs::path reached = out_ / "02-tuning/checkpoint-2";
  for (int i = 0; i < 6000 && !fs::exists(reached); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_EQ(kill(process, SIGTERM), 0);
  int status = 0;
  ASSERT_EQ(waitpid(process, &status, 0), process);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM);
  EXPECT_FALSE(fs::exists(out_ / "03-last"));
}

TEST_F(StagedRun, RefusesAChangedOrLeftOverStage) {
  ASSERT_EQ(train({"--stages.tuning.training.loop.max_train_steps=3"}).exit_code, 0);
  const CommandResult changed = train({"--stages.forcing.training.optimizer.learning_rate=0.5",
                                       "--stages.tuning.training.loop.max_train_steps=3"});
  EXPECT_EQ(changed.exit_code, 1);
  EXPECT_EQ(changed.messages,
            "zoetrope: stages.forcing: a finished stage must keep its config:\n  "
            "training.optimizer.learning_rate: must be 0.001 as it was, but got 0.5\nto train it "
            "again, remove " +
                (out_ / "01-forcing").string() +
                " and the folders of the stages after it, or choose another "
                "training.checkpoint.output_dir\n");
  EXPECT_EQ(train({"--stages.tuning.training.loop.max_train_steps=3",
                   "--training.tracker.trackers=[console]"})
                .exit_code,
            0);
  fs::remove_all(out_ / "02-tuning");
  const CommandResult left_over = train();
  EXPECT_EQ(left_over.exit_code, 1);
  EXPECT_THAT(left_over.messages,
              AllOf(HasSubstr("'tuning' is not finished"), HasSubstr("03-last has results too")));
}

TEST_F(StagedRun, GoesOnWithAnotherNumberOfRanksAfterAFinishedStage) {
  const std::string length = "--stages.tuning.training.loop.max_train_steps=3";
  ASSERT_EQ(train({length}).exit_code, 0);
  const fs::path last = out_ / "03-last";
  fs::rename(last, folder_ / "before");
  // As if two ranks had trained the first stage, and with another config for the others, too.
  const fs::path finished = out_ / "01-forcing/finished.yaml";
  std::string text = read_file(finished);
  const std::string one = "num_gpus: 1";
  ASSERT_NE(text.find(one), std::string::npos);
  write_file_atomically(finished, text.replace(text.find(one), one.size(), "num_gpus: 2"));
  const CommandResult rest = train({length, "--stages.tuning.training.distributed.num_gpus=2"});
  ASSERT_EQ(rest.exit_code, 0) << rest.messages;
  EXPECT_THAT(rest.messages, AllOf(HasSubstr("stage 1 of 3, forcing: was finished before"),
                                   HasSubstr("stage 2 of 3, tuning: was finished before")));
  expect_equal_weights(last / "diffusers", folder_ / "before/diffusers");

  const CommandResult other = train({length, "--training.distributed.reduce_dtype=bf16"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.messages,
              HasSubstr("training.distributed.reduce_dtype: must be fp32 as it was, but got bf16"));
}

TEST_F(StagedRun, ReportsMissingPathsOfLaterStagesBeforeItLoadsAnything) {
  const CommandResult result = train({"--stages.last.models.student.init_from=/no/such/folder",
                                      "--stages.tuning.training.distributed.num_gpus=2"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages,
              AllOf(HasSubstr("2 faults"), HasSubstr("/no/such/folder"),
                    HasSubstr("must be the number of processes that were started, 1, but got 2"),
                    HasSubstr("(stage 'last')")));
  EXPECT_FALSE(fs::exists(out_ / "01-forcing"));
}

TEST_F(StagedRun, DryRunPrintsTheResolvedConfig) {
  const CommandResult result = train({"--dry-run"});
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.messages, HasSubstr("tuning: 1 sample an update"));
  const std::string resolved = (folder_ / "resolved.yaml").string();
  std::ofstream(resolved) << result.output;
  EXPECT_EQ(run_zoetrope({"validate", resolved}).output, resolved + ": ok\n");
  EXPECT_EQ(run_zoetrope({"train", resolved, "--dry-run"}).output, result.output);
}

}  // namespace
}  // namespace zoetrope::test
