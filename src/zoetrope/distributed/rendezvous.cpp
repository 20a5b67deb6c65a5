#include "zoetrope/distributed/rendezvous.h"

#include <algorithm>
#include <map>
#include <thread>

#include <c10/util/Exception.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/distributed/c10d_groups.h"
#include "zoetrope/distributed/failure_report.h"
#include "zoetrope/distributed/rank_store.h"

namespace zoetrope {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kFirstPause(5);
constexpr milliseconds kLongestPause(200);
// For the other ranks to read from the store what made this one leave.
constexpr milliseconds kLeavingTimeout(5000);

/// Whether `done` came true in time. Asks more and more seldom.
template <class Done>
bool poll_until(milliseconds timeout, Done done) {
  const auto deadline = Clock::now() + timeout;
  milliseconds pause = kFirstPause;
  while (!done()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
  return true;
}

std::string describe_ranks(const std::vector<int64_t>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ","));
}

/// What of `own` is not as in `first`, or nothing.
std::string first_difference(const Rendezvous::Facts& first, const Rendezvous::Facts& own) {
  const std::map<std::string, std::string> remaining(first.begin(), first.end());
  for (const auto& [name, value] : own) {
    const auto found = remaining.find(name);
    const std::string there = found == remaining.end() ? "absent" : found->second;
    if (there != value) return fmt::format("{} is {}, but {} on rank 0", name, value, there);
  }
  const std::map<std::string, std::string> present(own.begin(), own.end());
  for (const auto& [name, value] : first)
    if (!present.contains(name)) return fmt::format("{} is absent, but {} on rank 0", name, value);
  return "";
}

/// Launchers keep one store over restarts.
c10::intrusive_ptr<c10d::Store> store_of_attempt(const c10::intrusive_ptr<c10d::Store>& store,
                                                 int64_t restart_count) {
  return c10::make_intrusive<c10d::PrefixStore>(fmt::format("zoetrope/attempt_{}", restart_count),
                                                store);
}

c10::intrusive_ptr<c10d::Store> open_store(const RankEnvironment& environment,
                                           milliseconds timeout) {
  const StoreAddress address{environment.master_address, environment.master_port};
  const bool serves = environment.rank == 0 && !environment.launcher_has_store;
  const auto store = serves ? host_store(address).store : connect_store(address, timeout);
  return store_of_attempt(store, environment.restart_count);
}

}  // namespace

std::optional<std::string> first_failure(const c10::intrusive_ptr<c10d::Store>& store,
                                         int64_t restart_count) {
  return reported_failure(*store_of_attempt(store, restart_count));
}

Rendezvous::Rendezvous(RankEnvironment environment, RendezvousTimeouts timeouts)
    : environment_(std::move(environment)), timeouts_(timeouts) {
  if (environment_.num_ranks == 1) return;
  store_ = open_store(environment_, timeouts_.meeting);
  if (store_->add(fmt::format("rank_{}", environment_.rank), 1) != 1) {
    fail<DistributedError>(
        "rendezvous at {}:{}: each rank must come once, but another process is rank {}, too; do "
        "two runs use this address?",
        environment_.master_address, environment_.master_port, environment_.rank);
  }
  store_->add("come", 1);
}

Rendezvous::~Rendezvous() {
  if (!store_) return;
  try {
    store_->add("left", 1);
    const bool serves = is_first() && !environment_.launcher_has_store;
    if (serves)
      poll_until(kLeavingTimeout, [&] { return store_->add("left", 0) >= store_->add("come", 0); });
  } catch (const std::exception& error) {
    // The store has ended before this rank, which has nothing more to ask it.
    return;
  }
}

void Rendezvous::check_ranks(const Facts& facts) {
  if (!store_) return;
  if (is_first()) store_->set("facts", nlohmann::json(facts).dump());
  meet("start", timeouts_.meeting);
  const auto first = nlohmann::json::parse(store_->get_to_str("facts")).get<Facts>();
  const auto key = [](int64_t rank) { return fmt::format("difference_{}", rank); };
  store_->set(key(environment_.rank), first_difference(first, facts));
  meet("compared", timeouts_.meeting);
  std::map<std::string, std::vector<int64_t>> differences;
  for (int64_t rank = 0; rank < environment_.num_ranks; ++rank) {
    const std::string difference = store_->get_to_str(key(rank));
    if (!difference.empty()) differences[difference].push_back(rank);
  }
  if (differences.empty()) return;
  std::vector<std::string> lines;
  lines.reserve(differences.size());
  for (const auto& [difference, ranks] : differences)
    lines.push_back(fmt::format("{}: {}", describe_ranks(ranks), difference));
  fail<DistributedError>("ranks: must have the same build and config, but:\n  {}",
                         fmt::join(lines, "\n  "));
}

Mesh Rendezvous::form_mesh(const MeshSizes& sizes, c10::Device device) {
  if (sizes.num_ranks() != environment_.num_ranks) {
    fail<DistributedError>("mesh: must have as many ranks as were started, {}, but has {}",
                           environment_.num_ranks, sizes.num_ranks());
  }
  if (!store_) return make_mesh(sizes, 0, {});
  const std::string name = fmt::format("mesh_{}", num_meshes_++);
  // Groups connect without looking for failures of others, so all must be here first.
  meet(name, timeouts_.collective);
  const auto groups = c10::make_intrusive<c10d::PrefixStore>(name, store_);
  const std::string host =
      local_address_towards({environment_.master_address, environment_.master_port});
  Mesh mesh =
      make_mesh(sizes, environment_.rank,
                c10d_groups(groups, timeouts_.collective, host, explain_by(store_), device));
  mesh.local_rank = environment_.local_rank;
  return mesh;
}

std::shared_ptr<MessageBoard> Rendezvous::make_message_board() {
  if (!store_) return std::make_shared<MessageBoard>();
  const auto messages = c10::make_intrusive<c10d::PrefixStore>(
      fmt::format("messages_{}", num_message_boards_++), store_);
  return std::make_shared<MessageBoard>(messages, environment_.rank, environment_.num_ranks,
                                        timeouts_.collective, [store = store_] {
                                          if (const auto failure = reported_failure(*store))
                                            fail<DistributedError>("{}", *failure);
                                        });
}

void Rendezvous::report_failure(const std::string& message) {
  if (!store_) return;
  try {
    report_failure_of_rank(*store_, environment_.rank, message);
  } catch (const std::exception& error) {
    // The store has ended, so nobody is left to tell; the failure itself is what counts.
    return;
  }
}

void Rendezvous::meet(const std::string& where, milliseconds timeout) {
  try {
    meet_in_store(where, timeout);
  } catch (const c10::Error&) {
    fail_without_store({environment_.master_address, environment_.master_port},
                       environment_.launcher_has_store ? "the launcher" : "rank 0");
  }
}

void Rendezvous::meet_in_store(const std::string& where, milliseconds timeout) {
  store_->set(fmt::format("{}/{}", where, environment_.rank), "1");
  const std::string all = where + "/all";
  if (store_->add(where + "/count", 1) == environment_.num_ranks) store_->set(all, "1");
  const bool all_came = poll_until(timeout, [&] {
    throw_if_failed();
    return store_->check({all});
  });
  if (all_came) return;
  fail<DistributedError>(
      "ranks: all {} must come within {} s, but {} did not; see what they print, or give them "
      "more time by training.distributed.rendezvous_timeout_sec",
      environment_.num_ranks, static_cast<double>(timeout.count()) / 1e3, missing_ranks(where));
}

void Rendezvous::throw_if_failed() {
  if (const auto failure = reported_failure(*store_)) fail<DistributedError>("{}", *failure);
}

std::string Rendezvous::missing_ranks(const std::string& where) {
  std::vector<int64_t> missing;
  for (int64_t rank = 0; rank < environment_.num_ranks; ++rank)
    if (!store_->check({fmt::format("{}/{}", where, rank)})) missing.push_back(rank);
  return describe_ranks(missing);
}

}  // namespace zoetrope
