#include "zoetrope/base/stop_signal.h"

#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>

#include <unistd.h>

namespace zoetrope {
namespace {

// A handler can reach nothing but static storage.
volatile std::sig_atomic_t received_signal = 0;  // NOLINT(*-avoid-non-const-global-variables)
volatile int64_t received_at_ms = 0;             // NOLINT(*-avoid-non-const-global-variables)
struct sigaction previous_interrupt;             // NOLINT(*-avoid-non-const-global-variables)
struct sigaction previous_terminate;             // NOLINT(*-avoid-non-const-global-variables)

void write_text(const char* text) {
  // Only async-signal-safe calls; a failed message changes nothing.
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

void on_signal(int signal) {
  constexpr int kSignalExitBase = 128;
  constexpr int64_t kSameSignalMs = 500;
  if (received_signal != 0) {
    if (now_ms() - received_at_ms < kSameSignalMs) return;
    write_text("\nstopping at once\n");
    _exit(kSignalExitBase + signal);
  }
  received_signal = signal;
  received_at_ms = now_ms();
  write_text("\nstopping after this step; the same signal again stops at once\n");
}

}  // namespace

StopSignal::StopSignal() {
  received_signal = 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_interrupt);
  sigaction(SIGTERM, &action, &previous_terminate);
}

StopSignal::~StopSignal() {
  sigaction(SIGINT, &previous_interrupt, nullptr);
  sigaction(SIGTERM, &previous_terminate, nullptr);
  received_signal = 0;
}

int StopSignal::received() {
  return received_signal;
}

}  // namespace zoetrope
