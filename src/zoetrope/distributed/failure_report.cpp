#include "zoetrope/distributed/failure_report.h"

#include <thread>

#include <fmt/ranges.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kFailure = "failure";
constexpr std::chrono::milliseconds kPollPause(50);

std::string waiting_key(const FailedCollective& failed, int64_t rank) {
  return fmt::format("waiting/{}/{}", failed.group, rank);
}

std::string describe_call(const FailedCollective& failed) {
  return fmt::format("{}, call {}", failed.operation, failed.call);
}

bool all_wait(c10d::Store& store, const FailedCollective& failed) {
  std::vector<std::string> keys;
  for (const int64_t rank : failed.ranks) keys.push_back(waiting_key(failed, rank));
  return store.check(keys);
}

std::string list(const std::vector<int64_t>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ","));
}

std::string describe_absence(c10d::Store& store, const FailedCollective& failed) {
  std::vector<int64_t> absent;
  std::vector<std::string> elsewhere;
  for (const int64_t rank : failed.ranks) {
    const std::string key = waiting_key(failed, rank);
    if (!store.check({key})) {
      absent.push_back(rank);
    } else if (const std::string call = store.get_to_str(key); call != describe_call(failed)) {
      elsewhere.push_back(fmt::format("rank {} waits in {}", rank, call));
    }
  }
  std::vector<std::string> parts;
  if (!absent.empty()) {
    parts.push_back(fmt::format("after {:.1f} s {} {} not come: ended, hanging or still at work",
                                failed.waited_sec, list(absent),
                                absent.size() == 1 ? "has" : "have"));
  }
  if (!elsewhere.empty()) parts.push_back(fmt::format("{}", fmt::join(elsewhere, ", ")));
  if (parts.empty()) return "the connection failed while all ranks waited";
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace

void report_failure_of_rank(c10d::Store& store, int64_t rank, const std::string& message) {
  store.compareSet(kFailure, "", fmt::format("rank {} failed: {}", rank, message));
}

std::optional<std::string> reported_failure(c10d::Store& store) {
  if (!store.check({kFailure})) return std::nullopt;
  return store.get_to_str(kFailure);
}

ExplainFailure explain_by(const c10::intrusive_ptr<c10d::Store>& store,
                          std::chrono::milliseconds pause) {
  return [store, pause](const FailedCollective& failed) -> std::string {
    try {
      store->set(waiting_key(failed, failed.rank), describe_call(failed));
      const auto deadline = Clock::now() + pause;
      while (Clock::now() < deadline) {
        if (const auto failure = reported_failure(*store)) return *failure;
        if (all_wait(*store, failed)) break;
        std::this_thread::sleep_for(kPollPause);
      }
      return describe_absence(*store, failed);
    } catch (const std::exception& error) {
      return "failed, and so has the store of the run: rank 0 or the launcher has ended";
    }
  };
}

}  // namespace zoetrope
