// What the page of `zoetrope play` sends, as JSON, and the measurements of a session. Knows no
// HTTP.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace zoetrope {

/// `{"session": "...", "keys": ["w"], "restart": false, "latencies_ms": [81.5]}`; all but `session`
/// may be left out.
struct FramesRequest {
  std::string session;
  std::vector<std::string> keys;  ///< pressed
  bool restart = false;           ///< a new clip
  std::vector<double>
      latencies_ms;  ///< from keys to the frames they changed, as seen since the request before
};

/// Throws DataError that says what is wrong with `body`.
FramesRequest parse_frames_request(const std::string& body);
/// The `session` of `{"session": "..."}`. Throws DataError.
std::string parse_end_request(const std::string& body);

struct PlayStatistics {
  int64_t num_frames = 0;
  double generation_sec = 0.0;  ///< without the time in which the page asked for nothing
  int64_t num_latencies = 0;
  double sum_latency_ms = 0.0;
  double max_latency_ms = 0.0;

  void add_latencies(const std::vector<double>& latencies_ms);
  /// One line for the console.
  std::string describe() const;
};

}  // namespace zoetrope
