// Which rank of a run this process is, as its launcher says by environment variables: torchrun's
// (and `zoetrope launch`'s), Open MPI's, those of PMI launchers (MPICH, Intel MPI, Cray) and
// Slurm's. Opens no connection. Sources: the manuals of torchrun, mpirun and srun.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace zoetrope {

struct RankEnvironment {
  int64_t rank = 0;
  int64_t num_ranks = 1;
  int64_t local_rank = 0;  ///< among the ranks of this machine
  int64_t local_num_ranks = 1;
  std::string master_address;  ///< where the ranks meet; empty for one rank without a launcher
  int64_t master_port = 0;
  std::string launcher;  ///< `torchrun`, `Open MPI`, `PMI`, `Slurm`; empty without one
  /// The launcher serves the store at the address; otherwise rank 0 does.
  bool launcher_has_store = false;
  int64_t restart_count = 0;  ///< how often the launcher has started all ranks again
  bool has_own_log = false;   ///< what this rank prints goes to a file of its own
};

/// The value of a variable, or none.
using EnvironmentLookup = std::function<std::optional<std::string>(const std::string& name)>;

/// This process's environment variables.
EnvironmentLookup process_environment();

/// One rank alone when no launcher has set anything. Throws DistributedError that names the
/// variables when some are missing, contradict each other or are no numbers. A shell in a job of
/// Slurm (sbatch, salloc) is no task of srun: what it starts is one rank.
RankEnvironment read_rank_environment(const EnvironmentLookup& lookup);

}  // namespace zoetrope
