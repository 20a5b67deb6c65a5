// The state of a run under the keys of FastVideo's checkpoints: `roles.<role>.transformer.*`,
// `optimizers.<role>.*`, `schedulers.<role>.*`, `callbacks.<name>.*`; and `method.*`, a method's
// own state, which FastVideo does not save. Knows no concrete model, method or callback, and no
// file layout. Source: FastVideo train/utils/checkpoint.py.
#pragma once

#include <vector>

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/checkpoint/dcp/dcp_folder.h"
#include "zoetrope/checkpoint/dcp/dcp_writer.h"

namespace zoetrope {

/// This rank's part of everything of `method` and `callbacks` that changes in training; what
/// several ranks have is given by one of them. Tensors are views of the live state. Random numbers
/// are keyed and need none (docs/decisions/0002-keyed-random-numbers.md); the loader's position is
/// not in here.
std::vector<DcpItem> training_state(TrainingMethod& method, const NamedCallbacks& callbacks,
                                    const Mesh& mesh);

/// Copies a checkpoint, written by any layout of ranks, into `run.method` and `callbacks`: of its
/// tensors what is kept on this rank. Throws CheckpointError that lists every
/// tensor that is missing or misshapen, before anything is changed.
void restore_training_state(const DcpFolder& checkpoint, RunState& run,
                            const NamedCallbacks& callbacks, const Mesh& mesh);

}  // namespace zoetrope
