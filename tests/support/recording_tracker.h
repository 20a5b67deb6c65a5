// A tracker that keeps what it is given.
#pragma once

#include <map>
#include <string>

#include "zoetrope/tracking/tracker.h"

namespace zoetrope::test {

class RecordingTracker : public Tracker {
 public:
  void log(int64_t step, const std::vector<Metric>& metrics) override {
    for (const Metric& metric : metrics) values[step][metric.name] = metric.value;
  }
  void resume_at(int64_t step) override { resumed_at = step; }

  std::map<int64_t, std::map<std::string, double>> values;
  int64_t resumed_at = -1;
};

}  // namespace zoetrope::test
