// How much memory a rank of a run needs, and where: counted from how parameters are kept
// (distributed/sharded_parameters.h) and what passes keep (networks/wan_transformer). Pure
// functions of a RunDescription.
#pragma once

#include <string>
#include <vector>

#include "zoetrope/plan/run_description.h"

namespace zoetrope {

struct MemoryPart {
  std::string name;  ///< `parameters`, `activations`, ...
  std::string role;  ///< empty for what roles share
  double bytes = 0;
};

/// A moment of a run, with what is in memory beside what always is.
struct MemoryMoment {
  std::string name;
  std::vector<MemoryPart> parts;
};

struct MemoryPlan {
  std::vector<MemoryPart> always;
  std::vector<MemoryMoment> moments;  ///< of a step
  std::vector<MemoryMoment> rare;     ///< before the first step and between steps

  double bytes_of(const MemoryMoment& moment) const;
  /// The moment that needs the most, of a step or of all.
  const MemoryMoment& peak_of_step() const;
  const MemoryMoment& peak() const;
};

MemoryPlan plan_memory(const RunDescription& run);

}  // namespace zoetrope
