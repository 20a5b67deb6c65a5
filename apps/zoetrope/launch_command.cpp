#include "zoetrope/launch_command.h"

#include <charconv>
#include <filesystem>

#include <CLI/Config.hpp>
#include <CLI/Error.hpp>
#include <CLI/Formatter.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/stop_signal.h"
#include "zoetrope/distributed/launcher.h"
#include "zoetrope/train_command.h"

namespace zoetrope {
namespace {

constexpr const char* kExamples =
    R"(The options have torchrun's names and come before `train`; what follows is the command that every rank runs.

Examples:
  zoetrope launch --nproc-per-node 8 train run.yaml
  zoetrope launch --nproc-per-node 8 --max-restarts 3 train run.yaml --training.loop.max_train_steps 1000
  zoetrope launch --nnodes 2 --node-rank 0 --rdzv-endpoint node0:29500 train run.yaml     on node0, and
  zoetrope launch --nnodes 2 --node-rank 1 --rdzv-endpoint node0:29500 train run.yaml     on the other machine

Without --nproc-per-node there are as many ranks as training.distributed.num_gpus says. What rank r prints goes to
LOG_DIR/ATTEMPT/rank_r.log, rank 0's to the console, too. When one rank fails all are stopped, and its error is shown;
with --max-restarts all start again from the newest checkpoint. Ctrl-C or SIGTERM ends the run after the step, with a
checkpoint; a second one at once. torchrun, srun and mpirun can start `zoetrope train FILE` as well.)";

struct Options {
  int64_t num_local_ranks = 0;
  int64_t num_nodes = 1;
  int64_t node_rank = 0;
  std::string endpoint;
  int64_t max_restarts = 0;
  std::string log_dir;
};

StoreAddress parse_endpoint(const Options& options) {
  if (options.endpoint.empty()) {
    if (options.num_nodes > 1) {
      fail<ConfigError>(
          "--rdzv-endpoint: must be given with --nnodes {}: HOST:PORT of the machine with "
          "--node-rank 0",
          options.num_nodes);
    }
    return {"127.0.0.1", 0};
  }
  const size_t colon = options.endpoint.rfind(':');
  int64_t port = 0;
  const char* end = options.endpoint.data() + options.endpoint.size();
  const char* digits = options.endpoint.data() + (colon == std::string::npos ? 0 : colon + 1);
  const auto [stop, error] = std::from_chars(digits, end, port);
  constexpr int64_t kMaxPort = 65535;
  const int64_t min_port = options.num_nodes > 1 ? 1 : 0;  // 0: any free one
  if (colon == std::string::npos || colon == 0 || error != std::errc() || stop != end ||
      port < min_port || port > kMaxPort) {
    fail<ConfigError>("--rdzv-endpoint: must be HOST:PORT with a port from {} to {}, but got '{}'",
                      min_port, kMaxPort, options.endpoint);
  }
  return {options.endpoint.substr(0, colon), port};
}

/// The ranks of this machine; all machines together must have those of the config.
int64_t num_local_ranks(const Options& options, const std::vector<Stage>& stages) {
  if (options.node_rank >= options.num_nodes) {
    fail<ConfigError>("--node-rank: must be below --nnodes, but got {} and {}", options.node_rank,
                      options.num_nodes);
  }
  const int64_t num_ranks = stages.front().config.training.distributed.num_gpus;
  const int64_t local =
      options.num_local_ranks > 0 ? options.num_local_ranks : num_ranks / options.num_nodes;
  if (local * options.num_nodes == num_ranks) return local;
  fail<ConfigError>(
      "--nproc-per-node: must give, times --nnodes, the {} processes of "
      "training.distributed.num_gpus, but got {} x {}",
      num_ranks, options.num_local_ranks, options.num_nodes);
}

int run_launch(const Options& options, const Catalog& catalog,
               const std::vector<std::string>& train) {
  if (train.empty()) {
    fail<ConfigError>(
        "zoetrope launch: must be followed by the command of the ranks, `train FILE ...`");
  }
  const std::vector<Stage> stages = read_train_arguments({train.begin() + 1, train.end()}, catalog);
  const TrainingConfig& training = stages.front().config.training;
  LaunchOptions launched;
  launched.num_local_ranks = num_local_ranks(options, stages);
  launched.num_nodes = options.num_nodes;
  launched.node_rank = options.node_rank;
  launched.rendezvous = parse_endpoint(options);
  launched.max_restarts = options.max_restarts;
  launched.log_dir = !options.log_dir.empty()
                         ? std::filesystem::path(options.log_dir)
                         : std::filesystem::path(training.checkpoint.output_dir) / "logs";
  launched.program = std::filesystem::read_symlink("/proc/self/exe");
  launched.arguments = train;
  launched.restart_arguments = {"--training.checkpoint.resume_from_checkpoint", "latest"};
  launched.meeting_timeout = std::chrono::milliseconds(
      static_cast<int64_t>(training.distributed.rendezvous_timeout_sec * 1e3));
  log_info("{} ranks here, {} in all; their logs: {}", launched.num_local_ranks,
           launched.num_local_ranks * launched.num_nodes, launched.log_dir.string());
  const StopSignal stop_signal;
  return launch(launched);
}

}  // namespace

LaunchArguments split_launch_arguments(const std::vector<std::string>& arguments) {
  LaunchArguments split;
  size_t i = 0;
  for (; i < arguments.size() && arguments[i] != "train"; ++i) {
    split.own.push_back(arguments[i]);
    const bool takes_next = arguments[i].starts_with("--") && arguments[i] != "--help" &&
                            arguments[i].find('=') == std::string::npos;
    if (takes_next && i + 1 < arguments.size()) split.own.push_back(arguments[++i]);
  }
  split.train.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
  return split;
}

void add_launch_command(CLI::App& app, const Catalog& catalog, std::vector<std::string> train) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("launch", "Train with several processes, here or on several machines");
  command->footer(kExamples);
  command
      ->add_option("--nproc-per-node,--nproc_per_node", options->num_local_ranks,
                   "Ranks on this machine")
      ->check(CLI::PositiveNumber);
  command->add_option("--nnodes", options->num_nodes, "Machines")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--node-rank,--node_rank", options->node_rank,
                   "Which of the machines this is, from 0 on")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--rdzv-endpoint,--rdzv_endpoint", options->endpoint,
                      "HOST:PORT where the ranks meet; machine 0 listens there and nowhere else "
                      "(default: a free port of 127.0.0.1)");
  command
      ->add_option("--max-restarts,--max_restarts", options->max_restarts,
                   "How often all ranks may start again after a failure")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--log-dir,--log_dir", options->log_dir,
                      "Folder of the ranks' logs (default: `logs` in the run's output_dir)");
  command->callback([options, &catalog, train = std::move(train)] {
    if (const int status = run_launch(*options, catalog, train); status != 0)
      throw CLI::RuntimeError(status);
  });
}

}  // namespace zoetrope
