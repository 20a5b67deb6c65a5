// Serves the page of `zoetrope play` for one session, from the URL on the console to the summary.
#pragma once

#include "zoetrope/serving/play_service.h"

namespace zoetrope {

/// Plays `session` in this thread until SIGINT or SIGTERM; `port` 0 is a free one. Throws Error
/// when the port is taken, and what the session throws.
void serve_play(PlaySession& session, const PlayOptions& options, int port);

}  // namespace zoetrope
