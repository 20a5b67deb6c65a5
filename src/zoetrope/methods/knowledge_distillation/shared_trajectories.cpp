#include "zoetrope/methods/knowledge_distillation/shared_trajectories.h"

#include <algorithm>
#include <optional>

#include <ATen/ATen.h>

#include "zoetrope/base/progress.h"
#include "zoetrope/base/stop_signal.h"

namespace zoetrope {

std::vector<int64_t> from_first_rank(std::vector<int64_t> values, Group& world) {
  const auto size = static_cast<double>(values.size());
  values.resize(static_cast<size_t>(world.all_gather_numbers({size}).front().front()));
  if (values.empty()) return values;
  const at::Tensor shared = at::tensor(values, at::kLong);
  world.broadcast(shared, 0);
  const auto* first = shared.const_data_ptr<int64_t>();
  return {first, first + shared.numel()};
}

bool make_trajectories(TrajectoryCache& cache, const std::vector<int64_t>& missing,
                       const Mesh& mesh, const std::function<Trajectory(int64_t row)>& make) {
  const auto num_missing = std::ssize(missing);
  const int64_t num_groups = mesh.sizes.num_data_groups();
  const bool writes = mesh.place.sequence == 0 && mesh.place.tensor == 0;
  std::optional<Progress> progress;
  if (mesh.rank == 0) {
    progress.emplace("teacher trajectories", cache.num_rows(), "rows",
                     cache.num_rows() - num_missing);
  }
  for (int64_t first = 0; first < num_missing; first += num_groups) {
    const int64_t own = first + mesh.place.data_group;
    const int64_t row = missing[static_cast<size_t>(std::min(own, num_missing - 1))];
    const Trajectory trajectory = make(row);
    if (writes && own < num_missing) cache.write(row, trajectory);
    if (progress) progress->advance(std::min(num_groups, num_missing - first));
    if (any_rank(*mesh.world, StopSignal::received() != 0)) return false;
  }
  return true;
}

}  // namespace zoetrope
