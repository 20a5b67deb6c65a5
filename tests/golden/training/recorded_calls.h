// The network passes that a trace recorded of a step, without those that ours does not make on
// purpose (docs/differences.md):
// - Of a whole-clip rollout that ends at the drawn step j the reference runs all steps but the last
//   one, and step j again for the result. Ours ends at step j.
// - The reference stores the keys and values of a clip's last block, which nothing reads. Ours does
//   not.
// - The reference runs the conditional and the unconditional pass of a guided teacher one after the
//   other. Ours runs both as one batch: one call here.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "support/golden.h"

namespace zoetrope::test {

/// A pass, with the names of its tensors.
struct RecordedCall {
  std::string role;
  bool is_streaming = false;
  bool store_kv = false;
  int64_t start_frame = 0;
  std::string noisy;
  std::string timestep;
  std::string output = {};                ///< empty where it was not recorded
  std::string unconditional_output = {};  ///< empty for a pass without guidance
  std::string clean = {};                 ///< of teacher forcing; empty otherwise

  /// Recorded passes that this one stands for.
  int64_t num_passes() const { return unconditional_output.empty() ? 1 : 2; }
};

struct RecordedCalls {
  std::vector<RecordedCall> calls;  ///< those that ours makes, too, in order
  int64_t num_left_out = 0;         ///< recorded passes that it does not make
  /// Whether passes of the kind were recorded in this step at all: of some steps they were not.
  bool has_whole_clip = false;
  bool has_streaming = false;

  int64_t num_passes() const;
};

using TensorLookup = std::function<at::Tensor(const std::string& key)>;

/// Reads `step` of a trace. Throws std::runtime_error for an unconditional pass without a
/// conditional one before it.
RecordedCalls recorded_calls(const nlohmann::json& step, const TensorLookup& tensor);
/// The same of a case's step.
RecordedCalls recorded_calls(const nlohmann::json& step, const GoldenCase& golden);

}  // namespace zoetrope::test
