// Lines for the person at the console, on standard error. Structured metrics go to tracking/, not
// here.
#pragma once

#include <string_view>

#include <fmt/format.h>

namespace zoetrope {

/// Prints `message` and a newline to standard error in one write, so that threads and ranks do not
/// mix within a line.
void log_line(std::string_view message);

/// log_line with formatting.
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(fmt::format(format, std::forward<Args>(args)...));
}

/// While it lives log_line prints nothing: for a rank whose lines would repeat those of the first.
class QuietLog {
 public:
  QuietLog();
  ~QuietLog();
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;
};

}  // namespace zoetrope
