#include "integration/cli/command.h"

#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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
            const std::string& messages, const Variables& variables = {}) {
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("cannot run " ZOETROPE_BINARY);
  if (child == 0) {
    for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
    become_zoetrope(arguments, output, messages);
  }
  return child;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

StartedCommand::StartedCommand(const std::vector<std::string>& arguments,
                               const Variables& variables)
    : pid_(start(arguments, (folder_ / "output").string(), (folder_ / "messages").string(),
                 variables)) {}

StartedCommand::~StartedCommand() {
  if (ended_) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string StartedCommand::messages() const {
  const std::filesystem::path file = folder_ / "messages";
  return std::filesystem::exists(file) ? read_file(file) : "";
}

CommandResult StartedCommand::wait() {
  int status = 0;
  rusage usage{};
  if (wait4(pid_, &status, 0, &usage) != pid_)
    throw std::runtime_error("lost the process of " ZOETROPE_BINARY);
  ended_ = true;
  CommandResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  result.output = read_file(folder_ / "output");
  result.messages = read_file(folder_ / "messages");
  result.cpu_sec = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  return result;
}

CommandResult run_zoetrope(const std::vector<std::string>& arguments, const Variables& variables) {
  return StartedCommand(arguments, variables).wait();
}

pid_t start_zoetrope(const std::vector<std::string>& arguments) {
  return start(arguments, "/dev/null", "/dev/null");
}

}  // namespace zoetrope::test
