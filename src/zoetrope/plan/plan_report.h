// A plan as a person reads it, and as JSON; with what would make a run fit that does not. Pure
// functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "zoetrope/plan/memory_plan.h"
#include "zoetrope/plan/step_plan.h"

namespace zoetrope {

/// What ranks run on.
struct PlanTarget {
  std::string name;         ///< `h100-80g`, or `this machine`
  double memory_bytes = 0;  ///< of a rank
  /// Of it what the run cannot use: contexts, libraries and fragments.
  double reserved_bytes = 0;
  int64_t ranks_per_machine = 1;
  const Gpu* gpu = nullptr;  ///< null: no estimate of time
  TimeAssumptions time;

  double usable_bytes() const { return memory_bytes - reserved_bytes; }
};

/// What a process needs of a GPU's memory for other things than tensors.
double gpu_reserved_bytes(double memory_bytes);

/// A GPU of the table. Ranks beyond one machine's are on others.
PlanTarget gpu_target(const Gpu& gpu);

struct Suggestion {
  std::string change;     ///< as overrides of the config
  double peak_bytes = 0;  ///< of a rank
  bool fits = false;
};

/// For a run that does not fit: each change that helps on its own, then, if none is enough, the
/// changes one after the other until they are, or all of them. Empty for a run that fits.
std::vector<Suggestion> suggest_changes(const RunDescription& run, const PlanTarget& target);

/// Everything together.
struct RunPlan {
  RunDescription run;
  PlanTarget target;
  MemoryPlan memory;
  StepPlan step;
  std::vector<Suggestion> suggestions;

  bool fits() const { return peak_bytes() <= target.usable_bytes(); }
  double peak_bytes() const { return memory.bytes_of(memory.peak()); }
};

RunPlan plan_run(RunDescription run, PlanTarget target);

std::string format_plan(const RunPlan& plan);
nlohmann::ordered_json to_json(const RunPlan& plan);

/// `41.2 GiB of memory a rank in its backward pass, but h100-80g has 79.6 GiB ...`: one sentence.
std::string memory_sentence(const RunPlan& plan);

}  // namespace zoetrope
