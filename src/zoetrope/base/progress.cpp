#include "zoetrope/base/progress.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace zoetrope {
namespace {

constexpr int kBarWidth = 20;
constexpr double kTerminalIntervalSec = 0.2;
constexpr double kLogIntervalSec = 10.0;

double steady_now_sec() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0.0) return "?";
  const auto total = static_cast<int64_t>(seconds);
  if (total >= 3600) return fmt::format("{}h{:02}m", total / 3600, total / 60 % 60);
  if (total >= 60) return fmt::format("{}m{:02}s", total / 60, total % 60);
  return fmt::format("{}s", total);
}

std::string format_short_number(double value) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  const double magnitude = std::abs(value);
  if (magnitude >= 999.5e3) return fmt::format("{:.1f}M", value / 1e6);
  if (magnitude >= 9999.5) return fmt::format("{:.1f}k", value / 1e3);
  if (magnitude >= 99.5) return fmt::format("{:.0f}", value);
  return fmt::format("{:.3g}", value);
}

Progress::Progress(std::string title, int64_t total, std::string unit, int64_t num_before)
    : Progress(std::move(title), total, std::move(unit), num_before,
               {stderr, isatty(STDERR_FILENO) == 1, steady_now_sec}) {}

Progress::Progress(std::string title, int64_t total, std::string unit, int64_t num_before,
                   Output output)
    : title_(std::move(title)),
      total_(total),
      unit_(std::move(unit)),
      num_before_(num_before),
      output_(std::move(output)),
      start_sec_(output_.now_sec()),
      drawn_sec_(start_sec_) {}

Progress::~Progress() {
  finish();
}

void Progress::advance(int64_t count) {
  const std::scoped_lock lock(mutex_);
  num_done_ += count;
  const double interval_sec = output_.is_terminal ? kTerminalIntervalSec : kLogIntervalSec;
  if (!finished_ && output_.now_sec() - drawn_sec_ >= interval_sec) draw(false);
}

void Progress::print(const std::string& line) {
  const std::scoped_lock lock(mutex_);
  fmt::print(output_.stream, "{}{}\n", output_.is_terminal ? "\r\033[K" : "", line);
  if (output_.is_terminal && !finished_) draw(false);
}

void Progress::finish() {
  const std::scoped_lock lock(mutex_);
  if (!finished_) draw(true);
  finished_ = true;
}

// The line counts what was done before, the rate does not.
std::string Progress::line(double elapsed_sec) const {
  const int64_t count = num_before_ + num_done_;
  std::string text = title_ + "  ";
  if (total_ > 0) {
    const double part =
        std::clamp(static_cast<double>(count) / static_cast<double>(total_), 0.0, 1.0);
    const auto filled = static_cast<size_t>(part * kBarWidth);
    text += fmt::format("[{}{}]  {}/{} {}  {}%", std::string(filled, '#'),
                        std::string(kBarWidth - filled, ' '), count, total_, unit_,
                        static_cast<int>(part * 100.0));
  } else {
    text += fmt::format("{} {}", count, unit_);
  }
  if (num_done_ == 0 || elapsed_sec <= 0.0) return text;
  const double rate = static_cast<double>(num_done_) / elapsed_sec;
  text += fmt::format("  {}/s", format_short_number(rate));
  if (total_ > count)
    return text +
           fmt::format("  {} left", format_duration(static_cast<double>(total_ - count) / rate));
  return text + fmt::format("  in {}", format_duration(elapsed_sec));
}

void Progress::draw(bool is_last) {
  drawn_sec_ = output_.now_sec();
  const std::string text = line(drawn_sec_ - start_sec_);
  if (output_.is_terminal) {
    fmt::print(output_.stream, "\r\033[K{}{}", text, is_last ? "\n" : "");
  } else {
    fmt::print(output_.stream, "{}\n", text);
  }
  std::fflush(output_.stream);
}

}  // namespace zoetrope
