// Progress of long jobs for the person who waits: count, rate and time left, redrawn in place on a
// terminal and printed as an occasional line elsewhere. Metrics of training go to tracking/, not
// here.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <string>

namespace zoetrope {

/// `12s`, `3m05s`, `2h07m`; `?` for what is not known (negative or not finite).
std::string format_duration(double seconds);

/// A number to about three digits without an exponent: `0.034`, `7.25`, `412`, `12.3k`, `4.5M`.
std::string format_short_number(double value);

/// Thread-safe counter that draws itself: `preprocess  [#####     ]  45/90 clips  50%  3.2/s  14s
/// left`.
class Progress {
 public:
  struct Output {
    std::FILE* stream = stderr;
    bool is_terminal = false;         ///< redraw in place
    std::function<double()> now_sec;  ///< a clock that only goes forward
  };

  /// To standard error. `total` 0: unknown, so neither bar nor time left. `num_before`: what an
  /// earlier run did already; it counts, but not in the rate.
  Progress(std::string title, int64_t total, std::string unit, int64_t num_before = 0);
  /// To `output`, for tests.
  Progress(std::string title, int64_t total, std::string unit, int64_t num_before, Output output);
  /// finish().
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Counts `count` more, and draws if the last drawing is old enough (0.2 s on a terminal, else 10
  /// s).
  void advance(int64_t count = 1);
  /// Prints a line of its own above the progress.
  void print(const std::string& line);
  /// Draws the last state and ends the line. Later calls do nothing.
  void finish();

 private:
  void draw(bool is_last);
  std::string line(double elapsed_sec) const;

  std::mutex mutex_;
  std::string title_;
  int64_t total_;
  std::string unit_;
  int64_t num_before_;
  int64_t num_done_ = 0;
  Output output_;
  double start_sec_;
  double drawn_sec_;
  bool finished_ = false;
};

}  // namespace zoetrope
