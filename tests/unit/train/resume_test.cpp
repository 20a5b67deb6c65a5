// Runs that are stopped and resumed: the same bits as those that were not, and every reason not to
// resume.
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/fake_run.h"
#include "support/file_size_limit.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/stop_signal.h"
#include "zoetrope/callbacks/ema.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

using test::FakeRun;
using test::TemporaryFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kConfig = R"(
models: {student: {_target_: fake, init_from: a}}
method: {_target_: sft, list: [{b: 1, a: 2}]}
training: {data: {seed: 7}, optimizer: {learning_rate: 0.05}}
)";

/// A run of ten samples, three a step, with EMA from step 2 and a checkpoint every `every` steps.
std::unique_ptr<FakeRun> make_run(const fs::path& folder, const std::string& resume,
                                  int64_t every = 2, const std::string& config = kConfig) {
  auto run = std::make_unique<FakeRun>(1);
  run->checkpoints.checkpoint.output_dir = folder.string();
  run->checkpoints.checkpoint.resume_from_checkpoint = resume;
  run->checkpoints.checkpoint.training_state_checkpointing_steps = every;
  run->checkpoints.raw_config = config::parse_yaml(config, "config");
  run->checkpoints.resolved_config = run->checkpoints.raw_config;
  EmaConfig ema;
  ema.decay = 0.5;
  ema.start_iter = 2;
  run->callbacks.emplace_back("ema", std::make_unique<EmaCallback>(ema, CallbackContext{}));
  return run;
}

TensorShards average_of(const FakeRun& run) {
  return run.callbacks.front().second->state_dict().shards;
}

std::vector<int64_t> steps_in(const fs::path& folder) {
  std::vector<int64_t> steps;
  for (const CheckpointFolder& checkpoint : list_checkpoints(folder))
    steps.push_back(checkpoint.step);
  return steps;
}

template <class Error>
std::string message_of(FakeRun& run) {
  try {
    run.train(8, 3);
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Resume, GivesTheBitsOfTheUninterruptedRun) {
  const TemporaryFolder folder;
  const auto whole = make_run(folder / "whole", "");
  whole->train(8, 3);
  for (const int64_t stop : {1, 2, 5, 8}) {
    const fs::path output = folder / std::to_string(stop);
    const auto first = make_run(output, "latest", 1);
    first->train(stop, 3);
    const auto second = make_run(output, "latest", 1);
    second->train(8, 3);
    EXPECT_EQ(second->tracker.resumed_at, stop);
    EXPECT_TRUE(at::equal(second->weights(), whole->weights())) << stop;
    EXPECT_TRUE(at::equal(average_of(*second)[1].values, average_of(*whole)[1].values)) << stop;
    for (int64_t step = stop + 1; step <= 8; ++step) {
      for (const char* name : {"total_loss", "grad_norm/student", "lr/student"}) {
        EXPECT_EQ(second->tracker.values.at(step)[name], whole->tracker.values.at(step)[name])
            << stop << " " << step << " " << name;
      }
    }
  }
}

TEST(Resume, StartsAfreshWhereThereIsNoCheckpoint) {
  const TemporaryFolder folder;
  const auto run = make_run(folder.path(), "latest");
  run->train(2, 3);
  EXPECT_EQ(run->tracker.resumed_at, 0);
  EXPECT_THAT(steps_in(folder.path()), ElementsAre(2));
}

TEST(Resume, AStopSignalSavesAtTheEndOfTheStep) {
  const TemporaryFolder folder;
  struct Interrupter : Callback {
    void on_before_optimizer_step(RunState& run, std::vector<OptimizerUpdate>&) override {
      if (run.step == 3) std::raise(SIGTERM);
    }
  };
  const auto run = make_run(folder.path(), "", 100);
  run->callbacks.emplace_back("interrupter", std::make_unique<Interrupter>());
  const StopSignal stop;
  run->train(8, 3);
  EXPECT_EQ(run->tracker.values.rbegin()->first, 3);
  EXPECT_THAT(steps_in(folder.path()), ElementsAre(3));
}

TEST(Resume, KeepsTheNewestCheckpoints) {
  const TemporaryFolder folder;
  const auto run = make_run(folder.path(), "", 1);
  run->checkpoints.checkpoint.checkpoints_total_limit = 2;
  fs::create_directories(folder / ".checkpoint-7.partial/dcp");  // left by a killed run
  run->train(5, 3);
  EXPECT_THAT(steps_in(folder.path()), ElementsAre(5, 4));
  EXPECT_FALSE(fs::exists(folder / ".checkpoint-7.partial"));
}

void damage(const fs::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(700);
  stream.put('~');
}

TEST(Resume, PassesOverADamagedCheckpointOnlyForLatest) {
  const TemporaryFolder folder;
  make_run(folder.path(), "")->train(4, 3);
  damage(folder / "checkpoint-4/dcp/__0_0.distcp");
  const auto named = make_run(folder.path(), (folder / "checkpoint-4").string());
  EXPECT_THAT(message_of<CheckpointError>(*named),
              AllOf(HasSubstr("checkpoint-4: must be whole, but dcp/__0_0.distcp does not have the "
                              "checksum that COMPLETE gives"),
                    HasSubstr("use 'latest'")));
  const auto latest = make_run(folder.path(), "latest");
  latest->train(6, 3);
  EXPECT_EQ(latest->tracker.resumed_at, 2);
  EXPECT_THAT(steps_in(folder.path()), ElementsAre(6, 4, 2));
  EXPECT_TRUE(checkpoint_faults({folder / "checkpoint-4", 4}).empty());
}

TEST(Resume, RefusesWhenAllAreDamaged) {
  const TemporaryFolder folder;
  make_run(folder.path(), "")->train(2, 3);
  fs::remove(folder / "checkpoint-2/COMPLETE");
  const auto run = make_run(folder.path(), "latest");
  EXPECT_THAT(message_of<CheckpointError>(*run), HasSubstr("but all 1 are damaged"));
}

TEST(Resume, RefusesAFreshRunBesideOtherCheckpoints) {
  const TemporaryFolder folder;
  make_run(folder.path(), "")->train(2, 3);
  const auto fresh = make_run(folder.path(), "");
  EXPECT_THAT(message_of<CheckpointError>(*fresh),
              HasSubstr("a fresh run must have a folder without checkpoints"));
}

TEST(Resume, RefusesAnOlderCheckpointBesideNewerOnes) {
  const TemporaryFolder folder;
  make_run(folder.path(), "")->train(4, 3);
  const auto run = make_run(folder.path(), (folder / "checkpoint-2/dcp").string());
  EXPECT_THAT(message_of<CheckpointError>(*run), HasSubstr("checkpoint-4 is newer"));
  const auto elsewhere = make_run(folder / "new", (folder / "checkpoint-2").string());
  elsewhere->train(4, 3);
  EXPECT_EQ(elsewhere->tracker.resumed_at, 2);
}

TEST(Resume, RefusesAPathWithoutCheckpoints) {
  const TemporaryFolder folder;
  const auto absent = make_run(folder / "a", (folder / "b").string());
  EXPECT_THAT(message_of<CheckpointError>(*absent), HasSubstr("does not exist"));
  const auto empty = make_run(folder / "a", folder.path().string());
  EXPECT_THAT(message_of<CheckpointError>(*empty), HasSubstr("is none of these"));
}

TEST(Resume, ComparesTheConfigs) {
  const TemporaryFolder folder;
  make_run(folder.path(), "")->train(2, 3);
  std::string config = kConfig;
  config.replace(config.find("0.05"), 4, "0.07");
  const auto other_rate = make_run(folder.path(), "latest", 2, config);
  testing::internal::CaptureStderr();
  other_rate->train(3, 3);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("resume: training.optimizer.learning_rate is now 0.07, was 0.05"),
                    Not(HasSubstr("method.list"))));
  config.replace(config.find("a: 2"), 4, "a: 3");
  const auto other_item = make_run(folder.path(), "latest", 2, config);
  testing::internal::CaptureStderr();
  other_item->train(3, 3);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("resume: method.list[0].a is now 3, was 2"));
  config.replace(config.find("seed: 7"), 7, "seed: 8");
  const auto other_seed = make_run(folder.path(), "latest", 2, config);
  EXPECT_THAT(message_of<ConfigError>(*other_seed),
              HasSubstr("training.data.seed: must be 7 as in the checkpoint, but got 8"));
}

TEST(Resume, RefusesAnotherFormat) {
  const TemporaryFolder folder;
  make_run(folder.path(), "")->train(2, 3);
  const fs::path file = folder / "checkpoint-2/metadata.json";
  auto json = nlohmann::json::parse(read_file(file));
  json["zoetrope"]["format_version"] = 99;
  write_file_atomically(file, json.dump());
  write_complete_marker(folder / "checkpoint-2", {{"metadata.json", file_checksum(file)}});
  const auto run = make_run(folder.path(), "latest");
  EXPECT_THAT(message_of<CheckpointError>(*run),
              HasSubstr("must have the checkpoint format 1, but has 99"));
}

TEST(Resume, AFullDiskLeavesTheRunAndTheOldCheckpointsAlone) {
  const TemporaryFolder folder;
  const auto undisturbed = make_run(folder / "undisturbed", "");
  undisturbed->train(4, 3);
  const auto run = make_run(folder / "full", "", 2);
  struct DiskFiller : Callback {
    explicit DiskFiller(fs::path folder) : first_checkpoint(std::move(folder)) {}
    void on_training_step_end(RunState& state) override {
      if (state.step != 4) return;
      while (!fs::exists(first_checkpoint))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      limit.emplace(2000);
    }
    fs::path first_checkpoint;
    std::optional<test::FileSizeLimit> limit;
  };
  run->callbacks.emplace_back("filler", std::make_unique<DiskFiller>(folder / "full/checkpoint-2"));
  EXPECT_THAT(message_of<CheckpointError>(*run), HasSubstr("File too large"));
  run->callbacks.pop_back();
  EXPECT_THAT(steps_in(folder / "full"), ElementsAre(2));
  EXPECT_FALSE(fs::exists(folder / "full/.checkpoint-4.partial"));
  const auto resumed = make_run(folder / "full", "latest");
  resumed->train(4, 3);
  EXPECT_TRUE(at::equal(resumed->weights(), undisturbed->weights()));
}

}  // namespace
}  // namespace zoetrope
