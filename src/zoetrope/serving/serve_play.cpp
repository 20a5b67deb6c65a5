#include "zoetrope/serving/serve_play.h"

#include "zoetrope/base/log.h"
#include "zoetrope/base/stop_signal.h"

namespace zoetrope {

void serve_play(PlaySession& session, const PlayOptions& options, int port) {
  PlayService service(session, options);
  const StopSignal stop_signal;
  const HttpListener listener(port, PlayService::kMaxBodyBytes,
                              [&](const HttpRequest& request) { return service.answer(request); });
  log_info("{} plays at http://127.0.0.1:{}/ (Ctrl-C ends it)", options.title, listener.port());
  service.run([] { return StopSignal::received() != 0; });
  log_info("{}", service.statistics().describe());
}

}  // namespace zoetrope
