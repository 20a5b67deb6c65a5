#include "zoetrope/distributed/rank_process.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <string_view>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr int kSignalExitBase = 128;  // as a shell reports a process that a signal ended
constexpr int kCannotRun = 127;
constexpr int kFirstOtherDescriptor = 3;

/// The null-terminated array that exec takes; points into `texts`.
std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(
    const std::vector<std::pair<std::string, std::string>>& variables) {
  std::map<std::string, std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      all.insert_or_assign(std::string(text.substr(0, equals)),
                           std::string(text.substr(equals + 1)));
  }
  for (const auto& [name, value] : variables) all.insert_or_assign(name, value);
  std::vector<std::string> entries;
  entries.reserve(all.size());
  for (const auto& [name, value] : all) entries.push_back(fmt::format("{}={}", name, value));
  return entries;
}

/// What the child does between fork and exec, where only async-signal-safe calls are allowed.
[[noreturn]] void become(char* const* arguments, char* const* environment, int log, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kCannotRun);  // died before it could be asked for
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  close_range(kFirstOtherDescriptor, ~0U, 0);
  execve(arguments[0], arguments, environment);
  _exit(kCannotRun);
}

}  // namespace

RankProcess::RankProcess(RankCommand command) : command_(std::move(command)) {
  constexpr int kLogMode = 0644;
  const int log =
      open(command_.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kLogMode);
  if (log < 0)
    fail("{}: must be a file that can be written, but: {}", command_.log_file.string(),
         std::strerror(errno));
  std::vector<std::string> arguments = command_.arguments;
  arguments.insert(arguments.begin(), command_.program.string());
  std::vector<std::string> environment = environment_with(command_.variables);
  const std::vector<char*> argument_pointers = pointers(arguments);
  const std::vector<char*> environment_pointers = pointers(environment);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) become(argument_pointers.data(), environment_pointers.data(), log, parent);
  const int status = errno;
  close(log);
  if (pid_ < 0) fail("{}: cannot be started: {}", command_.program.string(), std::strerror(status));
}

RankProcess::~RankProcess() {
  if (poll()) return;
  signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool RankProcess::poll() {
  int status = 0;
  if (!exit_status_ && waitpid(pid_, &status, WNOHANG) == pid_) {
    ended_by_signal_ = WIFSIGNALED(status);
    exit_status_ = ended_by_signal_ ? kSignalExitBase + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return exit_status_.has_value();
}

std::string RankProcess::describe_end() const {
  const int status = exit_status_.value();
  if (!ended_by_signal_) return fmt::format("exit status {}", status);
  const int number = status - kSignalExitBase;
  return fmt::format("signal {} ({})", number, strsignal(number));
}

void RankProcess::signal(int number) {
  if (!exit_status_) kill(pid_, number);
}

}  // namespace zoetrope
