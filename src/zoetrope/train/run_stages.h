// A whole run as `zoetrope train` does it: every stage in its folder, one after another.
#pragma once

#include "zoetrope/distributed/rank_environment.h"
#include "zoetrope/train/component_registries.h"
#include "zoetrope/train/stages.h"

namespace zoetrope {

/// Trains a plain config as run_training() does, and each stage of another in
/// `<output_dir>/<NN-name>`;
/// `<output_dir>/config.yaml` is the resolved config of all. A stage that has been finished is
/// skipped, an interrupted one goes on from its newest checkpoint. Throws ConfigError when the
/// config of a finished stage has changed since, DistributedError when the ranks do not come
/// together as one run, and what run_training() throws. Returns 0, or the signal (SIGINT, SIGTERM)
/// that ended the run early. Every rank calls it; `environment` says which one this is.
int run_stages(const std::vector<Stage>& stages, const ComponentRegistries& registries,
               const RankEnvironment& environment);

}  // namespace zoetrope
