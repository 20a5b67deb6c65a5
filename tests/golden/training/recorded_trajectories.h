// The teacher's trajectories that a recorded run of knowledge distillation was trained on.
#pragma once

#include <map>

#include "support/golden.h"
#include "support/replay_random_source.h"
#include "zoetrope/data/trajectory_cache.h"
#include "zoetrope/train/run_config.h"

namespace zoetrope::test {

/// Whether the case is one of knowledge distillation.
bool has_trajectories(const GoldenCase& golden);

/// By row of the data: those of the recorded batches, and of the cache's files that were kept.
std::map<int64_t, Trajectory> recorded_trajectories(const GoldenCase& golden,
                                                    const RunConfig& config);

/// Rows of the case's data.
int64_t num_recorded_rows(const RunConfig& config);

/// A cache as the reference leaves it behind when it is killed: its metadata and `trajectories`.
void write_reference_cache(const std::filesystem::path& folder, const RunConfig& config,
                           const std::map<int64_t, Trajectory>& trajectories);

/// The draws of making one row's trajectory from `noise_1TCHW`.
void push_generation_draws(const at::Tensor& noise_1TCHW, ReplayRandomSource& random);

}  // namespace zoetrope::test
