// A Python program beside the training process and the socket to it: lines out, events in, never
// waiting longer than asked. The other end is wandb_helper.py; what the lines say is not known
// here.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include <sys/types.h>

namespace zoetrope {

/// What the helper has to say: `imported`, `missing`, `started`, `failed`, `problem`, `finished`.
struct WandbEvent {
  std::string kind;
  std::string message;  ///< for people
};

class WandbProcess {
 public:
  using Milliseconds = std::chrono::milliseconds;

  /// Runs `python -c script` in a session of its own, so that the terminal's signals do not reach
  /// it, with the socket as descriptor 3, nothing on standard input, and what it prints appended to
  /// `log_file`. Throws Error when the program cannot be started.
  WandbProcess(const std::string& python, const char* script,
               const std::filesystem::path& log_file);
  /// Kills it when it still runs.
  ~WandbProcess();
  WandbProcess(const WandbProcess&) = delete;
  WandbProcess& operator=(const WandbProcess&) = delete;

  /// Hands over as much of `bytes` as fits at once and removes it from the front; never waits.
  void send_some(std::string& bytes);
  /// Waits until there is something to read or, with `to_send`, room to write.
  void wait(bool to_send, Milliseconds timeout);
  /// The next event that has come.
  std::optional<WandbEvent> take_event();
  /// It closed its end of the socket, most likely by ending; nothing more will come.
  bool ended() const { return ended_; }

  /// Waits for its end, then kills it together with what it started. How it ended: `exit status 0`,
  /// `signal 9`.
  std::string stop(Milliseconds timeout);

 private:
  void receive();

  int socket_ = -1;
  pid_t pid_ = -1;
  std::string received_;
  std::string ending_;
  bool ended_ = false;
};

}  // namespace zoetrope
