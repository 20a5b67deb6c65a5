// Ranks of a run as threads of the test, connected by Gloo through an in-memory store.
#pragma once

#include <functional>

#include "zoetrope/distributed/mesh.h"
#include "zoetrope/distributed/message_board.h"

namespace zoetrope {

/// Runs `body` once for each rank, each in its own thread, and returns when all are done. The first
/// exception of a rank is thrown again.
void run_ranks(const MeshSizes& sizes, const std::function<void(const Mesh&)>& body);

/// The same, with a board that the ranks share.
void run_ranks(const MeshSizes& sizes,
               const std::function<void(const Mesh&, const std::shared_ptr<MessageBoard>&)>& body);

}  // namespace zoetrope
