// A defect of the reference, so that the rest of a run can be compared with it: with gradient
// checkpointing its backward pass runs the student's blocks again, and these write their keys and
// values into the streaming cache again. After an update within a streamed clip the cache so holds
// the frames as they were in the last denoising pass, noisy, in place of the finished ones.
#pragma once

#include "support/golden.h"
#include "zoetrope/callbacks/callback.h"

namespace zoetrope::test {

/// Does the same to the clip that the method is streaming.
class OverwrittenCache : public Callback {
 public:
  explicit OverwrittenCache(const GoldenCase& golden) : golden_(golden) {}
  void on_before_optimizer_step(RunState& run, std::vector<OptimizerUpdate>& updates) override;

 private:
  const GoldenCase& golden_;
};

}  // namespace zoetrope::test
