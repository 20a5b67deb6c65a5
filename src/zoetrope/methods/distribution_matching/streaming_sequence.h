// A clip that is generated over many training steps, and its way into checkpoints and back. Knows
// no model and no algorithm.
#pragma once

#include "zoetrope/models/training_batch.h"
#include "zoetrope/tensor/state_dict.h"

namespace zoetrope {

struct StreamingSequence {
  int64_t stage = 0;    ///< index of the stage that it belongs to
  TrainingBatch batch;  ///< conditions and samples of the whole sequence
  int64_t length = 0;   ///< latent frames that have been generated
  /// The last window: normalised latents, constant; undefined before the first.
  at::Tensor previous_BTCHW = {};

  bool is_complete() const { return length >= batch.latents_BTCHW.size(1); }
};

/// Copies of everything but noise and timesteps, which nothing reads.
StateDict sequence_state(const StreamingSequence& sequence);

/// What sequence_state() gave, on `device`. Throws CheckpointError when something is missing.
StreamingSequence restore_sequence(const StateDict& state, at::Device device);

}  // namespace zoetrope
