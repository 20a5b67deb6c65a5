#include "zoetrope/base/log.h"

#include <atomic>
#include <cstdio>
#include <string>

namespace zoetrope {
namespace {

// The console is one for the process, and so is whether it is written to.
std::atomic<int> num_quiet = 0;  // NOLINT(*-avoid-non-const-global-variables)

}  // namespace

QuietLog::QuietLog() {
  ++num_quiet;
}

QuietLog::~QuietLog() {
  --num_quiet;
}

void log_line(std::string_view message) {
  if (num_quiet > 0) return;
  std::string line(message);
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace zoetrope
