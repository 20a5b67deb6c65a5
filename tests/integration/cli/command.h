// Runs the built zoetrope binary and keeps what it printed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "support/temporary_folder.h"

namespace zoetrope::test {

struct CommandResult {
  int exit_code = -1;
  std::string output;    ///< standard output
  std::string messages;  ///< standard error
  double cpu_sec = 0.0;  ///< user and system time of the process
};

/// Environment variables that a command gets on top of the test's own.
using Variables = std::vector<std::pair<std::string, std::string>>;

/// `zoetrope ARGUMENTS...` under way in the test's working folder; killed with the object.
class StartedCommand {
 public:
  explicit StartedCommand(const std::vector<std::string>& arguments,
                          const Variables& variables = {});
  ~StartedCommand();
  StartedCommand(const StartedCommand&) = delete;
  StartedCommand& operator=(const StartedCommand&) = delete;

  pid_t pid() const { return pid_; }
  /// What it has printed to standard error so far.
  std::string messages() const;
  CommandResult wait();

 private:
  TemporaryFolder folder_;
  pid_t pid_;
  bool ended_ = false;
};

/// Runs `zoetrope ARGUMENTS...` to its end.
CommandResult run_zoetrope(const std::vector<std::string>& arguments,
                           const Variables& variables = {});

/// Starts `zoetrope ARGUMENTS...` without waiting; what it prints goes nowhere. Its process id.
pid_t start_zoetrope(const std::vector<std::string>& arguments);

}  // namespace zoetrope::test
