// What a component with a position hands to a checkpoint: tensors and plain values by name. Knows
// no file format and no component.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/named_tensors.h"
#include "zoetrope/tensor/tensor_shard.h"

namespace zoetrope {

using StateScalar = std::variant<bool, int64_t, double, std::string>;

struct StateDict {
  NamedTensors tensors;  ///< views of the live state; a name may have dots (`student_ema.proj_out`)
  /// What is spread over ranks, as views of the live state. A checkpoint is read into the shards of
  /// the state_dict that follows a load_state_dict of the rest.
  TensorShards shards;
  std::vector<std::pair<std::string, StateScalar>> scalars;

  bool empty() const { return tensors.empty() && shards.empty() && scalars.empty(); }

  /// Adds all of `part`, its names behind `prefix`.
  void add(const std::string& prefix, const StateDict& part);
  /// What add() took in with this prefix.
  StateDict part(const std::string& prefix) const;

  /// An undefined tensor when there is none of that name.
  at::Tensor find_tensor(const std::string& name) const;
  /// Throws CheckpointError when there is none of that name.
  at::Tensor tensor(const std::string& name) const;
  /// Throws CheckpointError when there is none of that name and type.
  template <class Value>
  Value scalar(const std::string& name) const {
    for (const auto& [key, value] : scalars) {
      if (key != name) continue;
      if (const auto* typed = std::get_if<Value>(&value)) return *typed;
    }
    fail<CheckpointError>("state: must have the value '{}', but it is missing or of another type",
                          name);
  }
};

/// A copy on the CPU, which stays as it is when `live` changes: for state that changes within a
/// step.
at::Tensor copy_for_checkpoint(const at::Tensor& live);

}  // namespace zoetrope
