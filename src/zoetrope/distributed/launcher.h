// Starts the ranks of a run on this machine and watches over them: one's failure stops all, and
// they can be started again. Launchers of several machines meet in the store that the first of them
// serves for their ranks, too. The variables that ranks get are torchrun's. See
// docs/decisions/0011-launch.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "zoetrope/distributed/rank_store.h"

namespace zoetrope {

struct LaunchOptions {
  int64_t num_local_ranks = 1;  ///< on this machine; the same on each
  int64_t num_nodes = 1;
  int64_t node_rank = 0;
  StoreAddress rendezvous{"127.0.0.1", 0};  ///< port 0 (a free one) only on a single machine
  int64_t max_restarts = 0;
  std::filesystem::path log_dir;  ///< gets `<attempt>/rank_<r>.log`
  std::filesystem::path program;
  std::vector<std::string> arguments;          ///< of the program
  std::vector<std::string> restart_arguments;  ///< after `arguments` when the ranks start again
  std::chrono::milliseconds meeting_timeout = std::chrono::seconds(60);  ///< of the launchers
  /// Between SIGTERM and SIGKILL for ranks whose run has failed.
  std::chrono::milliseconds grace = std::chrono::seconds(5);
};

/// Runs until all ranks have ended. What rank 0 prints is printed here, too. Returns 0, or 128 +
/// the signal that made the ranks stop early; a StopSignal of the caller's is passed on to them.
/// Throws DistributedError with the message of the rank that failed first when no restart is left.
int launch(const LaunchOptions& options);

}  // namespace zoetrope
