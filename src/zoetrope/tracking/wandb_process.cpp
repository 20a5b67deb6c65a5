#include "zoetrope/tracking/wandb_process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr int kChannel = 3;  ///< descriptor of the socket in the program

// posix_spawn: fork would copy the page tables of a process with tens of gigabytes.
class SpawnSettings {
 public:
  SpawnSettings(int channel, const std::string& log_file) {
    constexpr int kLogMode = 0644;
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_adddup2(&actions_, channel, kChannel);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, log_file.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, kLogMode);
    posix_spawn_file_actions_adddup2(&actions_, STDOUT_FILENO, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions_, kChannel + 1);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

std::string describe_status(int status) {
  return WIFEXITED(status) ? fmt::format("exit status {}", WEXITSTATUS(status))
                           : fmt::format("signal {}", WTERMSIG(status));
}

}  // namespace

WandbProcess::WandbProcess(const std::string& python, const char* script,
                           const std::filesystem::path& log_file) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    fail("{}: no socket for it could be made: {}", python, std::strerror(errno));
  socket_ = ends[0];
  const SpawnSettings settings(ends[1], log_file.string());
  std::string program = python;
  std::string option = "-c";
  std::string text = script;
  const std::array<char*, 4> arguments = {program.data(), option.data(), text.data(), nullptr};
  const int error = posix_spawnp(&pid_, program.c_str(), settings.actions(), settings.attributes(),
                                 arguments.data(), environ);
  close(ends[1]);
  if (error == 0) return;
  close(socket_);
  fail("{}: cannot be started: {}", python, std::strerror(error));
}

WandbProcess::~WandbProcess() {
  stop(Milliseconds(0));
  close(socket_);
}

void WandbProcess::send_some(std::string& bytes) {
  // Unlike a pipe, a socket can be written without a SIGPIPE when the other end is gone.
  const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) bytes.erase(0, static_cast<size_t>(sent));
  if (sent >= 0 || errno == EAGAIN || errno == EINTR) return;
  // It is gone, but what it said last may not have been read yet.
  size_t num_before = 0;
  do {
    num_before = received_.size();
    receive();
  } while (received_.size() > num_before);
  ended_ = true;
}

void WandbProcess::wait(bool to_send, Milliseconds timeout) {
  if (ended_) return;
  pollfd events{socket_, static_cast<int16_t>(to_send ? POLLIN | POLLOUT : POLLIN), 0};
  if (poll(&events, 1, static_cast<int>(timeout.count())) > 0 && (events.revents & ~POLLOUT) != 0)
    receive();
}

void WandbProcess::receive() {
  std::array<char, 4096> bytes{};
  const ssize_t count = recv(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (count > 0) received_.append(bytes.data(), static_cast<size_t>(count));
  if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) ended_ = true;
}

std::optional<WandbEvent> WandbProcess::take_event() {
  const size_t end = received_.find('\n');
  if (end == std::string::npos) return std::nullopt;
  const std::string line = received_.substr(0, end);
  received_.erase(0, end + 1);
  auto event = nlohmann::json::parse(line, nullptr, false);
  // Whatever a helper says must not stop the training.
  if (!event.is_object() || !event["event"].is_string() || !event["message"].is_string()) {
    return WandbEvent{"problem", "its helper said: " + line};
  }
  return WandbEvent{event["event"], event["message"]};
}

std::string WandbProcess::stop(Milliseconds timeout) {
  if (!ending_.empty()) return ending_;
  constexpr Milliseconds kPause(10);
  int status = 0;
  shutdown(socket_, SHUT_WR);
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      kill(-pid_, SIGKILL);
      waitpid(pid_, &status, 0);
      break;
    }
    std::this_thread::sleep_for(kPause);
  }
  ending_ = describe_status(status);
  return ending_;
}

}  // namespace zoetrope
