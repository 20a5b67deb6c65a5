// What a component with a position hands to a checkpoint: tensors and plain values by name. Knows
// no file format and no component.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

using StateScalar = std::variant<bool, int64_t, double, std::string>;

struct StateDict {
  NamedTensors tensors;  ///< views of the live state; a name may have dots (`student_ema.proj_out`)
  std::vector<std::pair<std::string, StateScalar>> scalars;

  bool empty() const { return tensors.empty() && scalars.empty(); }
};

}  // namespace zoetrope
