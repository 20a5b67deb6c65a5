// Decides from a few numbers, measured now and then, whether a student has collapsed. Knows no
// tensors: values in, complaints out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "zoetrope/tensor/state_dict.h"

namespace zoetrope {

/// One measured number and the limit that a healthy student keeps.
struct VitalSign {
  enum class Sick { kBelow, kAbove };

  std::string name;       ///< `motion`
  std::string complaint;  ///< what it means to be sick: `the frames hardly change`
  double value = 0.0;
  double limit = 0.0;
  Sick sick = Sick::kBelow;
};

/// A sign is sick when it is beyond its limit. During the warm-up that is not enough, since a
/// student may start blurred or far from the data: there it must also have been much better before.
/// A sign is reported when it was sick at several checks in a row, since a check averages over few
/// clips.
class CollapseDetector {
 public:
  struct Options {
    /// In the warm-up: sick below this share of the best value, or where the best is below this
    /// share of the value.
    double collapse_ratio = 0.2;
    int64_t num_checks = 3;  ///< sick checks in a row before a report
    int64_t warmup_steps = 200;
  };

  explicit CollapseDetector(const Options& options) : options_(options) {}

  /// The complaints about all signs that have been sick for long enough, each with value and limit.
  /// A sign that is not among `signs` was not measured and stays as it was.
  std::vector<std::string> check(int64_t step, const std::vector<VitalSign>& signs);

  /// `<sign>_best` and `<sign>_sick_checks`.
  std::vector<std::pair<std::string, StateScalar>> state() const;
  /// Takes what state() gave, among other things.
  void restore(const std::vector<std::pair<std::string, StateScalar>>& state);

 private:
  struct History {
    std::optional<double> best;  ///< largest value so far; smallest of a sign that is sick above
    int64_t num_sick_checks = 0;
  };

  bool is_sick(const VitalSign& sign, const History& history, int64_t step) const;

  Options options_;
  std::map<std::string, History> histories_;
};

}  // namespace zoetrope
