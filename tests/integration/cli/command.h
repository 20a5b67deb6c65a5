// Runs the built zoetrope binary and keeps what it printed.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace zoetrope::test {

struct CommandResult {
  int exit_code = -1;
  std::string output;    ///< standard output
  std::string messages;  ///< standard error
  double cpu_sec = 0.0;  ///< user and system time of the process
};

/// Runs `zoetrope ARGUMENTS...` in the test's working folder.
CommandResult run_zoetrope(const std::vector<std::string>& arguments);

/// Starts `zoetrope ARGUMENTS...` without waiting; what it prints goes nowhere. Its process id.
pid_t start_zoetrope(const std::vector<std::string>& arguments);

}  // namespace zoetrope::test
