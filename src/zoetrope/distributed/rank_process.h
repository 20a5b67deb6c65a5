// One rank as a child process: its output goes to a file, and it dies with the process that started
// it. Linux only.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace zoetrope {

struct RankCommand {
  std::filesystem::path program;
  std::vector<std::string> arguments;
  /// Set on top of the environment of the calling process.
  std::vector<std::pair<std::string, std::string>> variables;
  std::filesystem::path log_file;  ///< appended to
};

class RankProcess {
 public:
  /// Starts the process, in a process group of its own so that a terminal's Ctrl-C does not reach
  /// it. Throws Error when that or the log file fails.
  explicit RankProcess(RankCommand command);
  /// Kills the process if it runs.
  ~RankProcess();
  RankProcess(const RankProcess&) = delete;
  RankProcess& operator=(const RankProcess&) = delete;

  /// Whether it has ended; then exit_status() has a value.
  bool poll();
  /// As a shell reports it: the exit status, or 128 + the signal that ended it.
  std::optional<int> exit_status() const { return exit_status_; }
  bool ended_by_signal() const { return ended_by_signal_; }
  /// `exit status 1`, `signal 9 (Killed)`.
  std::string describe_end() const;
  /// Sends a signal; nothing when the process has ended.
  void signal(int number);
  const std::filesystem::path& log_file() const { return command_.log_file; }

 private:
  RankCommand command_;
  pid_t pid_ = -1;
  std::optional<int> exit_status_;
  bool ended_by_signal_ = false;
};

}  // namespace zoetrope
