// The meeting of a run's ranks: a store that all of them reach, the checks that they are of one
// run, and the groups that they form. One rank alone opens no connection. Knows no config: what
// must agree comes as names and values. See docs/decisions/0011-launch.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <c10/util/intrusive_ptr.h>

#include "zoetrope/distributed/mesh.h"
#include "zoetrope/distributed/message_board.h"
#include "zoetrope/distributed/rank_environment.h"

namespace c10d {
class Store;
}

namespace zoetrope {

struct RendezvousTimeouts {
  std::chrono::milliseconds meeting = std::chrono::seconds(60);      ///< for all ranks to come
  std::chrono::milliseconds collective = std::chrono::seconds(600);  ///< for one operation
};

/// What the first rank that has failed since the ranks were started for the `restart_count`th time
/// again has reported: `rank 1 failed: ...`.
std::optional<std::string> first_failure(const c10::intrusive_ptr<c10d::Store>& store,
                                         int64_t restart_count);

class Rendezvous {
 public:
  /// What must be the same on every rank, by name.
  using Facts = std::vector<std::pair<std::string, std::string>>;

  /// Connects to the store, which rank 0 serves unless the launcher does. Throws DistributedError.
  Rendezvous(RankEnvironment environment, RendezvousTimeouts timeouts);
  /// Tells the store that this rank leaves; a rank that serves the store waits a few seconds for
  /// the others to have left.
  ~Rendezvous();
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  const RankEnvironment& environment() const { return environment_; }
  /// Whether this rank speaks for the run: it writes files and prints.
  bool is_first() const { return environment_.rank == 0; }

  /// Waits until all ranks are here and have compared `facts` with those of rank 0. Throws
  /// DistributedError that names the ranks that have not come, those that differ with the first
  /// fact that does, or the one that has failed meanwhile with its message.
  void check_ranks(const Facts& facts);
  /// Waits for all ranks and forms their groups, which carry tensors of the CPU and of `device`.
  /// All ranks call it in the same order. `sizes` must have as many ranks as there are.
  Mesh form_mesh(const MeshSizes& sizes, c10::Device device = c10::kCPU);
  /// A board that the ranks share. All ranks call it in the same order.
  std::shared_ptr<MessageBoard> make_message_board();
  /// Lets ranks that wait for this one know why it fails; only the run's first failure is kept.
  void report_failure(const std::string& message);

 private:
  void meet(const std::string& where, std::chrono::milliseconds timeout);
  void meet_in_store(const std::string& where, std::chrono::milliseconds timeout);
  void throw_if_failed();
  std::string missing_ranks(const std::string& where);

  RankEnvironment environment_;
  RendezvousTimeouts timeouts_;
  c10::intrusive_ptr<c10d::Store> store_;  ///< null for one rank alone
  int64_t num_meshes_ = 0;
  int64_t num_message_boards_ = 0;
};

}  // namespace zoetrope
