// What ranks tell each other, through the store, when something fails: the first failure of the
// run, and which collective each was waiting in.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <c10/util/intrusive_ptr.h>

#include "zoetrope/distributed/group.h"

namespace c10d {
class Store;
}

namespace zoetrope {

/// Keeps the failure of `rank` unless another one has been reported before.
void report_failure_of_rank(c10d::Store& store, int64_t rank, const std::string& message);
/// The first failure that was reported: `rank 1 failed: ...`.
std::optional<std::string> reported_failure(c10d::Store& store);

/// Explains failed collectives by what the ranks write to `store`: the failure that another rank
/// has reported, or else which ranks of the group were not waiting in the same operation within
/// `pause` of this rank's failure.
ExplainFailure explain_by(const c10::intrusive_ptr<c10d::Store>& store,
                          std::chrono::milliseconds pause = std::chrono::seconds(3));

}  // namespace zoetrope
