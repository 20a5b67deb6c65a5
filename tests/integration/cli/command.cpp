#include "integration/cli/command.h"

#include <stdexcept>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"

namespace zoetrope::test {
namespace {

[[noreturn]] void become_zoetrope(std::vector<std::string> arguments, const std::string& output,
                                  const std::string& messages) {
  constexpr int kFlags = O_CREAT | O_WRONLY | O_TRUNC;
  constexpr int kMode = 0600;
  dup2(open(output.c_str(), kFlags, kMode), STDOUT_FILENO);
  dup2(open(messages.c_str(), kFlags, kMode), STDERR_FILENO);
  arguments.insert(arguments.begin(), ZOETROPE_BINARY);
  std::vector<char*> raw;
  for (std::string& argument : arguments) raw.push_back(argument.data());
  raw.push_back(nullptr);
  execv(ZOETROPE_BINARY, raw.data());
  _exit(127);
}

pid_t start(const std::vector<std::string>& arguments, const std::string& output,
            const std::string& messages) {
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("cannot run " ZOETROPE_BINARY);
  if (child == 0) become_zoetrope(arguments, output, messages);
  return child;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

CommandResult run_zoetrope(const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  const std::string output = (folder / "output").string();
  const std::string messages = (folder / "messages").string();
  const pid_t child = start(arguments, output, messages);
  int status = 0;
  rusage usage{};
  if (wait4(child, &status, 0, &usage) != child)
    throw std::runtime_error("lost the process of " ZOETROPE_BINARY);
  CommandResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  result.output = read_file(output);
  result.messages = read_file(messages);
  result.cpu_sec = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  return result;
}

pid_t start_zoetrope(const std::vector<std::string>& arguments) {
  return start(arguments, "/dev/null", "/dev/null");
}

}  // namespace zoetrope::test
