#include "zoetrope/distributed/launcher.h"

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <thread>

#include <c10/util/Exception.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/stop_signal.h"
#include "zoetrope/distributed/log_follower.h"
#include "zoetrope/distributed/rank_process.h"
#include "zoetrope/distributed/rendezvous.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPause(50);
constexpr milliseconds kNodesPause(500);  // between two looks at the other machines' failures
constexpr milliseconds kLeavingTimeout(5000);
constexpr int kNumLogLines = 20;
constexpr int kSignalExitBase = 128;

/// How all ranks of one attempt have ended.
struct Outcome {
  std::string failure;  ///< empty when there was none
  int stop_status = 0;  ///< not 0 when a signal has ended the run early
};

/// The store's answer. Throws DistributedError when the launcher that serves it has ended.
template <class Question>
auto answer(const StoreAddress& address, Question question) {
  try {
    return question();
  } catch (const c10::Error&) {
    fail_without_store(address, "the launcher with --node-rank 0");
  }
}

/// What launchers of several machines tell each other.
class Nodes {
 public:
  explicit Nodes(const LaunchOptions& options)
      : address_(options.rendezvous),
        num_nodes_(options.num_nodes),
        serves_(options.node_rank == 0) {
    if (serves_) {
      const HostedStore hosted = host_store(options.rendezvous);
      store_ = hosted.store;
      port_ = hosted.port;
    } else {
      store_ = connect_store(options.rendezvous, options.meeting_timeout);
      port_ = options.rendezvous.port;
    }
    own_ = c10::make_intrusive<c10d::PrefixStore>("zoetrope/launchers", store_);
  }
  /// The machine with the store leaves last.
  ~Nodes() {
    try {
      own_->add("left", 1);
      const auto deadline = Clock::now() + kLeavingTimeout;
      while (serves_ && own_->add("left", 0) < num_nodes_ && Clock::now() < deadline)
        std::this_thread::sleep_for(kPause);
    } catch (const std::exception& error) {
      // The store has ended before this launcher, which has nothing more to ask it.
      return;
    }
  }
  Nodes(const Nodes&) = delete;
  Nodes& operator=(const Nodes&) = delete;

  int64_t port() const { return port_; }
  /// What the first rank that failed in this attempt says, if it could.
  std::optional<std::string> failure_of_ranks(int64_t attempt) {
    return answer(address_, [&] { return first_failure(store_, attempt); });
  }
  void tell_failure(int64_t attempt, const std::string& failure) {
    answer(address_, [&] { own_->compareSet(fmt::format("failure_{}", attempt), "", failure); });
  }
  std::optional<std::string> failure_of_nodes(int64_t attempt) {
    const std::string key = fmt::format("failure_{}", attempt);
    return answer(address_, [&]() -> std::optional<std::string> {
      if (!own_->check({key})) return std::nullopt;
      return own_->get_to_str(key);
    });
  }
  void tell_done(int64_t attempt) {
    answer(address_, [&] { own_->add(fmt::format("done_{}", attempt), 1); });
  }
  bool all_done(int64_t attempt) {
    return answer(address_,
                  [&] { return own_->add(fmt::format("done_{}", attempt), 0) == num_nodes_; });
  }

 private:
  StoreAddress address_;
  int64_t num_nodes_;
  bool serves_;
  int64_t port_ = 0;
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::Store> own_;
};

class Attempt {
 public:
  Attempt(const LaunchOptions& options, Nodes& nodes, int64_t number)
      : options_(options), nodes_(nodes), number_(number) {
    const fs::path folder = options.log_dir / fmt::format("{}", number);
    fs::create_directories(folder);
    for (int64_t local_rank = 0; local_rank < options.num_local_ranks; ++local_rank) {
      const RankCommand command = rank_command(local_rank, folder);
      log_starts_.push_back(size_of_file(command.log_file));
      if (options.node_rank == 0 && local_rank == 0) console_.emplace(command.log_file, stderr);
      ranks_.push_back(std::make_unique<RankProcess>(command));
    }
  }

  Outcome run() {
    bool told_done = false;
    auto next_look = Clock::now();
    while (true) {
      const bool running = poll();
      if (console_) console_->copy_new();
      pass_signal_on();
      if (outcome_.failure.empty() && options_.num_nodes > 1 && Clock::now() >= next_look) {
        next_look = Clock::now() + kNodesPause;
        if (auto failure = nodes_.failure_of_nodes(number_)) fail_all(*failure);
      }
      if (!running && !told_done && outcome_.failure.empty()) nodes_.tell_done(number_);
      told_done = told_done || !running;
      // Another machine's ranks may still fail, and then all start again.
      if (!running &&
          (!outcome_.failure.empty() || outcome_.stop_status != 0 || nodes_.all_done(number_)))
        return outcome_;
      kill_after_grace();
      std::this_thread::sleep_for(kPause);
    }
  }

 private:
  RankCommand rank_command(int64_t local_rank, const fs::path& folder) const {
    const auto text = [](int64_t value) { return fmt::format("{}", value); };
    const int64_t rank = options_.node_rank * options_.num_local_ranks + local_rank;
    const int64_t num_cores = std::max(1U, std::thread::hardware_concurrency());
    RankCommand command;
    command.program = options_.program;
    command.arguments = options_.arguments;
    if (number_ > 0) {
      command.arguments.insert(command.arguments.end(), options_.restart_arguments.begin(),
                               options_.restart_arguments.end());
    }
    command.variables = {
        {"RANK", text(rank)},
        {"WORLD_SIZE", text(options_.num_nodes * options_.num_local_ranks)},
        {"LOCAL_RANK", text(local_rank)},
        {"LOCAL_WORLD_SIZE", text(options_.num_local_ranks)},
        {"MASTER_ADDR", options_.rendezvous.host},
        {"MASTER_PORT", text(nodes_.port())},
        {"TORCHELASTIC_USE_AGENT_STORE", "True"},
        {"TORCHELASTIC_RESTART_COUNT", text(number_)},
        {"ZOETROPE_RANK_LOGS", "1"},
    };
    if (!process_environment()("OMP_NUM_THREADS")) {
      command.variables.emplace_back(
          "OMP_NUM_THREADS", text(std::max<int64_t>(1, num_cores / options_.num_local_ranks)));
    }
    command.log_file = folder / fmt::format("rank_{}.log", rank);
    return command;
  }

  /// Whether a rank still runs.
  bool poll() {
    bool running = false;
    for (size_t i = 0; i < ranks_.size(); ++i) {
      RankProcess& rank = *ranks_[i];
      const bool had_ended = rank.exit_status().has_value();
      if (!rank.poll()) {
        running = true;
        continue;
      }
      const int status = *rank.exit_status();
      if (had_ended || status == 0) continue;
      if (has_stopped(rank)) {
        outcome_.stop_status = status;
      } else if (outcome_.failure.empty()) {
        fail_all(describe_failure(i));
        nodes_.tell_failure(number_, outcome_.failure);
      }
    }
    return running;
  }

  /// Whether the rank has answered a signal by ending after its step, or before its first one.
  bool has_stopped(const RankProcess& rank) const {
    const int status = *rank.exit_status();
    const bool is_status_of_stop =
        status == kSignalExitBase + SIGTERM || status == kSignalExitBase + SIGINT;
    return is_status_of_stop && (passed_on_ || !rank.ended_by_signal());
  }

  std::string describe_failure(size_t local_rank) {
    const RankProcess& process = *ranks_[local_rank];
    const std::string log = process.log_file().string();
    if (const auto message = nodes_.failure_of_ranks(number_))
      return fmt::format("{}\n  logs of all ranks: {}", *message,
                         process.log_file().parent_path().string());
    const std::string lines = last_lines(log, log_starts_[local_rank], kNumLogLines, "    ");
    return fmt::format(
        "rank {} ended with {}; {}:\n{}",
        options_.node_rank * options_.num_local_ranks + static_cast<int64_t>(local_rank),
        process.describe_end(), log, lines.empty() ? "    (it printed nothing)" : lines);
  }

  void fail_all(const std::string& failure) {
    outcome_.failure = failure;
    terminated_ = Clock::now();
    for (const auto& rank : ranks_) rank->signal(SIGTERM);
  }

  void kill_after_grace() {
    if (!terminated_ || Clock::now() < *terminated_ + options_.grace) return;
    for (const auto& rank : ranks_) rank->signal(SIGKILL);
  }

  void pass_signal_on() {
    if (StopSignal::received() == 0 || passed_on_) return;
    passed_on_ = true;
    for (const auto& rank : ranks_) rank->signal(StopSignal::received());
  }

  const LaunchOptions& options_;
  Nodes& nodes_;
  int64_t number_;
  std::vector<std::unique_ptr<RankProcess>> ranks_;
  std::vector<uint64_t> log_starts_;
  std::optional<LogFollower> console_;
  Outcome outcome_;
  std::optional<Clock::time_point> terminated_;
  bool passed_on_ = false;
};

}  // namespace

int launch(const LaunchOptions& options) {
  Nodes nodes(options);
  for (int64_t attempt = 0;; ++attempt) {
    const Outcome outcome = Attempt(options, nodes, attempt).run();
    if (outcome.stop_status != 0 && outcome.failure.empty()) return outcome.stop_status;
    if (outcome.failure.empty()) return 0;
    if (attempt >= options.max_restarts || StopSignal::received() != 0)
      fail<DistributedError>("{}", outcome.failure);
    log_info("zoetrope launch: {}", outcome.failure);
    log_info("zoetrope launch: starting all ranks again, {} of {}", attempt + 1,
             options.max_restarts);
  }
}

}  // namespace zoetrope
