// A trajectory cache made by all ranks of a run: which rows are missing, and each data group its
// share of them. Knows no teacher.
#pragma once

#include <functional>
#include <vector>

#include "zoetrope/data/trajectory_cache.h"
#include "zoetrope/distributed/mesh.h"

namespace zoetrope {

/// The first rank's `values` on every rank.
std::vector<int64_t> from_first_rank(std::vector<int64_t> values, Group& world);

/// Makes and writes the trajectories of the rows `missing`, the same list on all ranks. Every rank
/// calls `make` equally often, since its ranks may share the teacher's parameters: in the last
/// round some make a row that another one writes. Draws its progress on the first rank. False when
/// a StopSignal has ended it, on whichever rank.
bool make_trajectories(TrajectoryCache& cache, const std::vector<int64_t>& missing,
                       const Mesh& mesh, const std::function<Trajectory(int64_t row)>& make);

}  // namespace zoetrope
