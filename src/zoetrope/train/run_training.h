// One training run from a checked config to an exported pipeline folder.
#pragma once

#include "zoetrope/distributed/rendezvous.h"
#include "zoetrope/train/component_registries.h"
#include "zoetrope/train/run_config.h"

namespace zoetrope {

/// Adds an issue for everything that the config asks for and that the ranks that were started and
/// this rank's machine cannot give: better no run than another one than was asked for.
void check_supported(const TrainingConfig& training, const RankEnvironment& environment,
                     config::Issues& issues);

/// Trains as `config` says. The run folder (training.checkpoint.output_dir) gets config.yaml
/// (resolved), the trackers' files, validation videos, and at the end `diffusers` (and
/// `diffusers_ema` when there is an EMA), whole pipeline folders with the trained weights. Throws
/// ConfigError for what cannot be honoured, DataError, CheckpointError, TrainingError. Returns 0,
/// or the signal that a StopSignal of the caller's received and that ended the run early, after a
/// checkpoint if checkpoints are on. Every rank calls it; the first alone writes files.
int run_training(const RunConfig& config, const ComponentRegistries& registries,
                 Rendezvous& rendezvous);

}  // namespace zoetrope
