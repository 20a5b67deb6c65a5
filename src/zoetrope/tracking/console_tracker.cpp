#include "zoetrope/tracking/console_tracker.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <unistd.h>

#include "zoetrope/base/log.h"
#include "zoetrope/base/progress.h"

namespace zoetrope {
namespace {

constexpr auto kTerminalInterval = std::chrono::seconds(1);
constexpr auto kLogInterval = std::chrono::seconds(10);

// `grad_norm/student`, but not the per-module `grad_norm/student/blocks.0`.
bool is_on_step_line(const std::string& name) {
  return name.starts_with("lr/") ||
         (name.starts_with("grad_norm/") &&
          name.find('/', std::string("grad_norm/").size()) == std::string::npos);
}

}  // namespace

ConsoleTracker::ConsoleTracker(int64_t max_train_steps)
    : max_train_steps_(max_train_steps), terminal_(isatty(STDERR_FILENO) == 1) {}

void ConsoleTracker::log(int64_t step, const std::vector<Metric>& metrics) {
  bool is_step = false;
  std::string validation;
  for (const Metric& metric : metrics) {
    latest_[metric.name] = metric.value;
    is_step = is_step || metric.name == "step_time_sec";
    if (metric.name.ends_with("_sec")) sums_[metric.name] += metric.value;
    if (metric.name.starts_with("validation/")) {
      validation += fmt::format(
          "  {} {:.4g}", metric.name.substr(std::string("validation/").size()), metric.value);
    }
  }
  if (!validation.empty()) {
    end_line();
    log_info("step {} validation:{}", step, validation);
  }
  if (!is_step) return;
  ++num_summed_;
  const auto now = Clock::now();
  if (first_step_ < 0) {
    first_step_ = step;
    start_ = now;
  }
  const auto interval = terminal_ ? kTerminalInterval : kLogInterval;
  if (step != first_step_ && step != max_train_steps_ && now - last_print_ < interval) return;
  last_print_ = now;
  print_step(step);
}

std::string ConsoleTracker::time_left(int64_t step) const {
  if (step == first_step_) return format_duration(-1.0);
  const double elapsed_sec = std::chrono::duration<double>(Clock::now() - start_).count();
  return format_duration(elapsed_sec / static_cast<double>(step - first_step_) *
                         static_cast<double>(max_train_steps_ - step));
}

void ConsoleTracker::print_step(int64_t step) {
  const double num_summed = static_cast<double>(num_summed_);
  const double step_sec = sums_["step_time_sec"] / num_summed;
  std::string line =
      fmt::format("step {}/{}  loss {:.4f}", step, max_train_steps_, latest_["total_loss"]);
  for (const auto& [name, value] : latest_) {
    if (is_on_step_line(name)) line += fmt::format("  {} {:.3g}", name, value);
  }
  const double total_sec = std::max(sums_["step_time_sec"], std::numeric_limits<double>::min());
  line += fmt::format("  {:.3g} s/step  {} samples/s  {} tokens/s  data wait {:.1f}%  left {}",
                      step_sec, format_short_number(latest_["samples_per_sec"]),
                      format_short_number(latest_["tokens_per_sec"]),
                      100.0 * sums_["data_wait_sec"] / total_sec, time_left(step));
  sums_.clear();
  num_summed_ = 0;
  if (!terminal_) return log_line(line);
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
  line_open_ = true;
}

void ConsoleTracker::log_video(int64_t /*step*/, const std::string& /*name*/,
                               const std::filesystem::path& mp4, const std::string& caption,
                               double /*fps*/) {
  end_line();
  log_info("  {}  \"{}\"", mp4.string(), caption);
}

void ConsoleTracker::end_line() {
  if (line_open_) fmt::print(stderr, "\n");
  line_open_ = false;
}

void ConsoleTracker::finish() {
  end_line();
}

}  // namespace zoetrope
