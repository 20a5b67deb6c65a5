// What a step of a run does: tokens, floating-point operations, bytes between ranks, and from them
// an estimate of its time; and what a checkpoint takes on disk. Pure functions of a RunDescription.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "zoetrope/plan/gpu_table.h"
#include "zoetrope/plan/run_description.h"

namespace zoetrope {

/// A role's passes of one kind in a step of the optimizer on one rank, averaged over steps.
struct PassWork {
  std::string role;
  std::string purpose;
  double num_calls = 0;  ///< forward passes through the network
  double tokens = 0;     ///< that go through it on this rank, over all calls
  double flops = 0;      ///< backward pass and recomputation included
};

/// Bytes that leave a rank in a step, averaged over steps.
struct LinkTraffic {
  std::string operation;  ///< `all-gather of parameters`, ...
  std::string group;      ///< that it is in: `shard`, `replicate`, `data`, `sequence`, `tensor`
  int64_t group_size = 1;
  bool between_machines = false;
  bool overlaps = false;  ///< with computation
  double bytes = 0;
};

struct StepPlan {
  int64_t num_samples = 0;  ///< of an update, all ranks
  int64_t tokens_per_sample = 0;
  std::vector<PassWork> passes;
  std::vector<LinkTraffic> traffic;
  double checkpoint_bytes = 0;  ///< on disk, all ranks together

  double flops() const;  ///< of a rank
};

/// `ranks_per_machine` says which groups span machines.
StepPlan plan_step(const RunDescription& run, int64_t ranks_per_machine);

/// What the estimate of a step's time assumes beside the GPU's data sheet.
struct TimeAssumptions {
  double utilization = 0.4;       ///< of peak operations
  double link_efficiency = 0.75;  ///< of a link's nominal bandwidth
};

struct TimePlan {
  double compute_sec = 0;
  double overlapped_sec = 0;  ///< communication beside computation
  double exposed_sec = 0;     ///< communication that computation waits for
  double step_sec() const;    ///< the longer of the first two, and the third
};

TimePlan plan_time(const RunDescription& run, const StepPlan& step, const Gpu& gpu,
                   const TimeAssumptions& assumptions);

}  // namespace zoetrope
