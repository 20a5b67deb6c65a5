// Runs of two ranks as processes: `zoetrope launch`, and the plain binary under the variables of
// other launchers. What each kind of bad input and of failure ends with.
#include "zoetrope/launch_command.h"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include "integration/cli/command.h"
#include "support/loopback.h"
#include "zoetrope/base/file.h"
#include "zoetrope/networks/lora/lora_file.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;

class Launch : public testing::Test {
 protected:
  void SetUp() override {
    setenv("OMP_NUM_THREADS", "1", 1);
    const fs::path reference = fs::path(ZOETROPE_SOURCE_DIR) / "tests/golden/reference";
    std::ofstream(folder_ / "run.yaml")
        << "models:\n  student: {_target_: wan, init_from: "
        << (reference / "_models/wan_a").string()
        << "}\nmethod: {_target_: fine_tune}\ntraining:\n  data: {data_path: "
        << (reference / "_data/t2v").string()
        << ", num_latent_t: 4, train_batch_size: 1, seed: 5}\n  optimizer: "
           "{learning_rate: 1.0e-3}\n  loop: {max_train_steps: 3}\n  checkpoint: "
           "{output_dir: "
        << (folder_ / "out").string()
        << "}\n  tracker: {trackers: [console, jsonl]}\n  model: {compute_dtype: fp32}\n  "
           "distributed: {num_gpus: 2, sp_size: 1, rendezvous_timeout_sec: 20}\n";
  }

  std::vector<std::string> with_config(std::vector<std::string> arguments,
                                       const std::vector<std::string>& overrides) {
    arguments.insert(arguments.end(), {"train", (folder_ / "run.yaml").string()});
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    return arguments;
  }
  std::vector<std::string> launch(const std::vector<std::string>& options,
                                  const std::vector<std::string>& overrides = {}) {
    std::vector<std::string> arguments = {"launch"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return with_config(std::move(arguments), overrides);
  }
  std::vector<std::string> train(const std::vector<std::string>& overrides = {}) {
    return with_config({}, overrides);
  }
  /// torchrun's for rank `rank` of two.
  static Variables torchrun(int rank, int port) {
    const std::string text = fmt::format("{}", rank);
    return {{"RANK", text},
            {"WORLD_SIZE", "2"},
            {"LOCAL_RANK", text},
            {"LOCAL_WORLD_SIZE", "2"},
            {"MASTER_ADDR", "127.0.0.1"},
            {"MASTER_PORT", fmt::format("{}", port)}};
  }
  /// The whole lines of a run's log.
  std::vector<nlohmann::json> metrics(const std::string& output = "out") {
    std::ifstream file(folder_ / output / "metrics.jsonl");
    std::vector<nlohmann::json> entries;
    for (std::string line; std::getline(file, line);) {
      auto entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (entry.contains("total_loss")) entries.push_back(std::move(entry));
    }
    return entries;
  }
  std::vector<int64_t> logged_steps() {
    std::vector<int64_t> steps;
    for (const nlohmann::json& entry : metrics()) steps.push_back(entry["step"]);
    return steps;
  }
  NamedTensors weights(const std::string& output) {
    const WeightFolder folder(folder_ / output / "diffusers/transformer");
    NamedTensors tensors;
    for (const std::string& name : folder.names())
      tensors.emplace_back(name, folder.tensor(name).clone());
    return tensors;
  }
  void expect_equal_weights(const std::string& output, const std::string& other) {
    const NamedTensors a = weights(output);
    const NamedTensors b = weights(other);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_TRUE(at::equal(a[i].second, b[i].second)) << a[i].first;
  }

  /// Waits until the run has logged `step`; the ranks' process ids.
  std::vector<pid_t> ranks_at_step(const StartedCommand& command, int64_t step) {
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    while (Clock::now() < deadline) {
      const std::vector<int64_t> steps = logged_steps();
      if (!steps.empty() && steps.back() >= step) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", command.pid()));
    std::vector<pid_t> ranks;
    for (pid_t child = 0; children >> child;) ranks.push_back(child);
    EXPECT_EQ(ranks.size(), 2) << command.messages();
    return ranks;
  }

  TemporaryFolder folder_;
};

TEST_F(Launch, TwoRanksTrainAsOneWithTheirBatches) {
  const CommandResult result = run_zoetrope(launch({"--nproc-per-node", "2"}));
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.messages, AllOf(HasSubstr("2 ranks here, 2 in all; their logs: "),
                                     HasSubstr("training on cpu for 3 steps")));
  EXPECT_THAT(read_file(folder_ / "out/logs/0/rank_0.log"), HasSubstr("training on cpu"));
  EXPECT_TRUE(fs::exists(folder_ / "out/logs/0/rank_1.log"));
  EXPECT_THAT(logged_steps(), ElementsAre(1, 2, 3));
  const std::string alone = (folder_ / "alone").string();
  ASSERT_EQ(
      run_zoetrope(train({"--training.distributed.num_gpus=1", "--training.data.train_batch_size=2",
                          "--training.checkpoint.output_dir=" + alone}))
          .exit_code,
      0);
  const std::vector<nlohmann::json> together = metrics();
  const std::vector<nlohmann::json> expected = metrics("alone");
  ASSERT_EQ(expected.size(), 3);
  for (size_t i = 0; i < expected.size(); ++i) {
    const double loss = expected[i]["total_loss"];
    EXPECT_NEAR(together[i]["total_loss"], loss, 1e-5 * loss);
  }
}

TEST_F(Launch, RanksThatSplitLayersWriteTheAdaptersOfOneRank) {
  const std::vector<std::string> lora = {"--models.student.lora.enable=true",
                                         "--models.student.lora.rank=4",
                                         "--models.student.lora.target_modules=[to_q,to_out,ffn]"};
  std::vector<std::string> one = lora;
  one.insert(one.end(), {"--training.distributed.num_gpus=1",
                         "--training.checkpoint.output_dir=" + (folder_ / "one").string()});
  std::vector<std::string> split = lora;
  split.emplace_back("--training.distributed.tp_size=2");
  ASSERT_EQ(run_zoetrope(train(one)).exit_code, 0);
  const CommandResult result = run_zoetrope(launch({"--nproc-per-node", "2"}, split));
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  const LoraWeights expected = read_lora_file(folder_ / "one/lora");
  const LoraWeights actual = read_lora_file(folder_ / "out/lora");
  EXPECT_EQ(actual.alpha, expected.alpha);
  ASSERT_EQ(actual.tensors.size(), expected.tensors.size());
  for (size_t i = 0; i < expected.tensors.size(); ++i) {
    const auto& [name, tensor] = expected.tensors[i];
    EXPECT_EQ(actual.tensors[i].first, name);
    ASSERT_EQ(actual.tensors[i].second.sizes(), tensor.sizes()) << name;
    // AdamW makes rounding of the smallest gradients visible in single elements.
    const double distance = (actual.tensors[i].second - tensor).norm().item<double>();
    EXPECT_LT(distance, 1e-3 * tensor.norm().item<double>()) << name;
  }
}

TEST_F(Launch, TheBinaryRunsUnderTheVariablesOfOtherLaunchers) {
  const int port = free_port();
  const Variables mpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                         {"OMPI_COMM_WORLD_SIZE", "2"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                         {"MASTER_PORT", fmt::format("{}", port)}};
  StartedCommand second(train(), mpi);
  const CommandResult first = run_zoetrope(train(), torchrun(0, port));
  EXPECT_EQ(first.exit_code, 0) << first.messages;
  const CommandResult quiet = second.wait();
  EXPECT_EQ(quiet.exit_code, 0);
  EXPECT_EQ(quiet.messages, "") << "rank 0 speaks for the run";
  EXPECT_THAT(logged_steps(), ElementsAre(1, 2, 3));
}

TEST_F(Launch, ARankThatDoesNotComeIsNamed) {
  const std::string soon = "--training.distributed.rendezvous_timeout_sec=1";
  const CommandResult first = run_zoetrope(train({soon}), torchrun(0, free_port()));
  EXPECT_EQ(first.exit_code, 1);
  EXPECT_THAT(first.messages, HasSubstr("ranks: all 2 must come within 1 s, but rank 1 did not"));
  const CommandResult second = run_zoetrope(train({soon}), torchrun(1, free_port()));
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.messages,
              HasSubstr("the store of rank 0 must be there within 1 s, but it cannot be reached"));
  EXPECT_FALSE(fs::exists(folder_ / "out/config.yaml")) << "nothing may have begun";
}

TEST_F(Launch, ARankWithAnotherConfigIsNamedWithTheKey) {
  const int port = free_port();
  StartedCommand second(train({"--training.optimizer.learning_rate=0.002"}), torchrun(1, port));
  const CommandResult first = run_zoetrope(train(), torchrun(0, port));
  const std::string difference =
      "rank 1: training.optimizer.learning_rate is 0.002, but 0.001 on rank 0";
  EXPECT_EQ(first.exit_code, 1);
  EXPECT_THAT(first.messages, HasSubstr(difference));
  const CommandResult other = second.wait();
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.messages, HasSubstr(difference));
}

TEST_F(Launch, APortInUseIsNamed) {
  const SilentListener other;
  const CommandResult plain = run_zoetrope(train(), torchrun(0, other.port()));
  EXPECT_EQ(plain.exit_code, 1);
  EXPECT_THAT(plain.messages, HasSubstr(fmt::format("rendezvous at 127.0.0.1:{}: must be free to "
                                                    "listen at, but got: Address already in use",
                                                    other.port())));
  const CommandResult launched =
      run_zoetrope(launch({"--rdzv-endpoint", fmt::format("127.0.0.1:{}", other.port())}));
  EXPECT_EQ(launched.exit_code, 1);
  EXPECT_THAT(launched.messages, HasSubstr("Address already in use"));
}

TEST_F(Launch, AnotherProgramOnThePortIsNamed) {
  httplib::Server server;
  const int port = server.bind_to_any_port("127.0.0.1");
  std::thread serving([&] { server.listen_after_bind(); });
  const CommandResult http = run_zoetrope(train(), torchrun(1, port));
  server.stop();
  serving.join();
  EXPECT_EQ(http.exit_code, 1);
  EXPECT_THAT(http.messages, HasSubstr("another program uses the port; choose another one"));
  const SilentListener silent;
  const CommandResult mute = run_zoetrope(train(), torchrun(1, silent.port()));
  EXPECT_EQ(mute.exit_code, 1);
  EXPECT_THAT(mute.messages, HasSubstr("it does not answer as one: another program uses the port"));
}

TEST_F(Launch, TheNumberOfRanksMustBeThatOfTheConfig) {
  const int port = free_port();
  const std::vector<std::string> four = train(
      {"--training.distributed.num_gpus=4", "--training.distributed.rendezvous_timeout_sec=3"});
  StartedCommand second(four, torchrun(1, port));
  const CommandResult first = run_zoetrope(four, torchrun(0, port));
  EXPECT_EQ(first.exit_code, 1);
  EXPECT_THAT(first.messages, HasSubstr("training.distributed.num_gpus: must be the number of "
                                        "processes that were started, 2, but got 4"));
  EXPECT_EQ(second.wait().exit_code, 1);
  const CommandResult launched = run_zoetrope(launch({"--nproc-per-node", "3"}));
  EXPECT_EQ(launched.exit_code, 1);
  EXPECT_EQ(launched.messages,
            "zoetrope: --nproc-per-node: must give, times --nnodes, the 2 processes of "
            "training.distributed.num_gpus, but got 3 x 1\n");
}

// Before weights are read: the model folder has none.
TEST_F(Launch, FaultsOfTheLayoutAreAllNamedBeforeAnythingIsLoaded) {
  if (num_cuda_devices() > 0) GTEST_SKIP() << "a process must not have its device";
  const fs::path model = fs::path(ZOETROPE_SOURCE_DIR) / "tests/golden/reference/_models/wan_a";
  fs::create_directories(folder_ / "model/transformer");
  fs::copy_file(model / "transformer/config.json", folder_ / "model/transformer/config.json");
  Variables variables = torchrun(0, free_port());
  std::find(variables.begin(), variables.end(),
            std::pair<std::string, std::string>("LOCAL_RANK", "0"))
      ->second = "1";
  const CommandResult result = run_zoetrope(
      train({"--models.student.init_from=" + (folder_ / "model").string(),
             "--training.distributed.device=cuda", "--training.distributed.num_gpus=33",
             "--training.distributed.tp_size=3"}),
      variables);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(
      result.messages,
      AllOf(HasSubstr("the config has 4 faults:"),
            HasSubstr("must be the number of processes that were started, 2, but got 33"),
            HasSubstr("training.distributed.device: cuda needs GPU 1 in this process, but this "
                      "build sees 0 GPUs"),
            HasSubstr("models.student: sequence and tensor parallelism: ranks share the attention "
                      "heads, so sp_size x tp_size must divide the network's 2 heads, but is "
                      "1 x 3"),
            HasSubstr("must have a sample for each of the 11 groups")));
}

TEST_F(Launch, HalfSetVariablesAreNamed) {
  const CommandResult result = run_zoetrope(train(), {{"RANK", "1"}, {"WORLD_SIZE", "2"}});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages,
              HasSubstr("environment variables of torchrun: all or none must be set, but RANK, "
                        "WORLD_SIZE are set and LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, "
                        "MASTER_PORT not"));
}

TEST_F(Launch, BadCommandLinesAreRefusedBeforeAnyRankStarts) {
  EXPECT_THAT(run_zoetrope({"launch", "--nproc-per-node", "2"}).messages,
              HasSubstr("must be followed by the command of the ranks, `train FILE ...`"));
  EXPECT_THAT(run_zoetrope({"launch", "train"}).messages, HasSubstr("must name a config"));
  EXPECT_THAT(run_zoetrope(launch({"--nproc-per-node", "0"})).messages,
              HasSubstr("nproc-per-node"));
  EXPECT_THAT(run_zoetrope(launch({"--nnodes", "2"})).messages,
              HasSubstr("--rdzv-endpoint: must be given with --nnodes 2: HOST:PORT"));
  EXPECT_THAT(run_zoetrope(launch({"--nnodes", "2", "--node-rank", "2"})).messages,
              HasSubstr("--node-rank: must be below --nnodes, but got 2 and 2"));
  EXPECT_THAT(run_zoetrope(launch({"--rdzv-endpoint", "here"})).messages,
              HasSubstr("--rdzv-endpoint: must be HOST:PORT with a port from 0 to 65535, but got "
                        "'here'"));
  const CommandResult fault = run_zoetrope(launch({}, {"--training.lop.max_train_steps=2"}));
  EXPECT_EQ(fault.exit_code, 1);
  EXPECT_THAT(fault.messages, HasSubstr("did you mean"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(Launch, AFailingRanksOwnErrorIsOnTop) {
  // Another process holds the run's folder, which only rank 0 asks for.
  fs::create_directories(folder_ / "out");
  StartedCommand holder(
      train({"--training.distributed.num_gpus=1", "--training.loop.max_train_steps=100000"}));
  while (!fs::exists(folder_ / "out/metrics.jsonl"))
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const CommandResult result = run_zoetrope(launch({}));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages,
              HasSubstr(fmt::format("zoetrope: rank 0 failed: {}: must be written by one process "
                                    "at a time, but process {} is at work there",
                                    (folder_ / "out").string(), holder.pid())));
  EXPECT_THAT(read_file(folder_ / "out/logs/0/rank_1.log"),
              HasSubstr("rank 1 of 2\n  rank 0 failed: "));
}

TEST_F(Launch, ADeadRankStopsAllWithinSeconds) {
  StartedCommand command(launch({}, {"--training.loop.max_train_steps=100000"}));
  const std::vector<pid_t> ranks = ranks_at_step(command, 3);
  ASSERT_EQ(ranks.size(), 2);
  const auto start = Clock::now();
  kill(ranks[1], SIGKILL);
  const CommandResult result = command.wait();
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(8));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages, HasSubstr("zoetrope: rank 1 ended with signal 9 (Killed); "));
  EXPECT_NE(kill(ranks[0], 0), 0) << "rank 0 must have ended";
}

TEST_F(Launch, AHangingRankIsNamedWithTheOperation) {
  StartedCommand command(launch({}, {"--training.loop.max_train_steps=100000",
                                     "--training.distributed.collective_timeout_sec=2"}));
  const std::vector<pid_t> ranks = ranks_at_step(command, 3);
  ASSERT_EQ(ranks.size(), 2);
  kill(ranks[1], SIGSTOP);
  const CommandResult result = command.wait();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(
      result.messages,
      AllOf(HasSubstr("zoetrope: rank 0 failed: "), HasSubstr(" in group '"),
            HasSubstr("must end on every rank, but after"), HasSubstr("rank 1 has not come")));
}

TEST_F(Launch, ARunGoesOnAfterADeadRank) {
  const std::string steps = "--training.loop.max_train_steps=40";
  ASSERT_EQ(run_zoetrope(launch({}, {steps, "--training.checkpoint.output_dir=" +
                                                (folder_ / "whole").string()}))
                .exit_code,
            0);
  StartedCommand command(
      launch({"--max-restarts", "1"},
             {steps, "--training.checkpoint.training_state_checkpointing_steps=1"}));
  const std::vector<pid_t> ranks = ranks_at_step(command, 3);
  ASSERT_EQ(ranks.size(), 2);
  kill(ranks[0], SIGKILL);
  const CommandResult result = command.wait();
  ASSERT_EQ(result.exit_code, 0) << result.messages;
  EXPECT_THAT(result.messages,
              AllOf(HasSubstr("rank 0 ended with signal 9"),
                    HasSubstr("starting all ranks again, 1 of 1"), HasSubstr("steps are done")));
  EXPECT_TRUE(fs::exists(folder_ / "out/logs/1/rank_1.log"));
  expect_equal_weights("out", "whole");
}

TEST_F(Launch, ASignalEndsTheRunAfterTheStepWithACheckpoint) {
  StartedCommand command(launch(
      {"--max-restarts", "1"}, {"--training.loop.max_train_steps=100000",
                                "--training.checkpoint.training_state_checkpointing_steps=50000"}));
  ASSERT_EQ(ranks_at_step(command, 3).size(), 2);
  kill(command.pid(), SIGTERM);
  const CommandResult result = command.wait();
  EXPECT_EQ(result.exit_code, 128 + SIGTERM) << result.messages;
  EXPECT_THAT(result.messages,
              AllOf(HasSubstr("stopped after step"), Not(HasSubstr("starting all ranks again"))));
  const int64_t last = logged_steps().back();
  EXPECT_TRUE(fs::exists(folder_ / fmt::format("out/checkpoint-{}", last)));
}

TEST(LaunchArguments, AreSplitAtTheCommandOfTheRanks) {
  const LaunchArguments split = split_launch_arguments(
      {"--log-dir", "train", "--nnodes=1", "train", "run.yaml", "--a.b", "c"});
  EXPECT_THAT(split.own, ElementsAre("--log-dir", "train", "--nnodes=1"));
  EXPECT_THAT(split.train, ElementsAre("train", "run.yaml", "--a.b", "c"));
  EXPECT_TRUE(split_launch_arguments({"--help"}).train.empty());
}

}  // namespace
}  // namespace zoetrope::test
