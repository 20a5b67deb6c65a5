// What the page of `zoetrope play` talks to: it takes one player at a time, and turns pressed keys
// into blocks of frames. A block is made when the page asks for it, so generation waits where the
// page is behind. Knows no sockets.
//
//   GET  /         the page
//   POST /session  begins to play: {"session", "keys", "mouse", "fps"}; 409 while another plays
//   POST /frames   FramesRequest -> one PNG with the frames of the next block, one below the other;
//                  header Frame-Count says how many
//   POST /end      {"session"}: the page was left
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "zoetrope/serving/http_listener.h"
#include "zoetrope/serving/play_controls.h"
#include "zoetrope/serving/play_protocol.h"

namespace zoetrope {

struct PlayOptions {
  PlayControls controls{{}, 0.0};
  double fps = 16.0;  ///< at which the page shows frames
  std::string title;  ///< what is played
  /// A page that asked for nothing for so long has lost its place to the next that comes.
  std::chrono::milliseconds max_silence{10'000};
};

class PlayService {
 public:
  /// Most bytes of a request's body that make sense.
  static constexpr size_t kMaxBodyBytes = 4096;

  /// `session` must outlive the service.
  PlayService(PlaySession& session, PlayOptions options);

  /// Answers a request of the page; waits for the frames. Called by any thread.
  HttpReply answer(const HttpRequest& request);

  /// Makes the frames that requests wait for, in this thread, until `should_stop`, which is asked
  /// many times a second. Afterwards, and after an error of the session, which it throws, requests
  /// are refused.
  void run(const std::function<bool()>& should_stop);

  PlayStatistics statistics() const;

 private:
  using Clock = std::chrono::steady_clock;

  /// Who plays.
  struct Player {
    std::string token;
    Clock::time_point last_heard;
    bool is_waiting = false;  ///< for frames
  };
  struct Job {
    PlayActions actions;
    bool restart = false;
  };
  class Closing;

  HttpReply begin_session();
  HttpReply next_frames(const FramesRequest& request);
  HttpReply end_session(const std::string& token);
  std::optional<Job> wait_for_job();
  HttpReply carry_out(const Job& job);
  void hand_on(HttpReply frames);
  void close();

  PlaySession& session_;
  PlayOptions options_;
  mutable std::mutex mutex_;  ///< guards what follows
  std::condition_variable work_changed_;
  std::optional<Player> player_;
  std::optional<Job> job_;
  std::optional<HttpReply> frames_;  ///< what the job gave
  bool must_restart_ = true;         ///< the next frames are a new player's first
  bool is_closed_ = false;
  PlayStatistics statistics_;
};

}  // namespace zoetrope
