// Means over steps of values that stay on the device until they are read, all in one copy. Knows
// not what the values mean.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "zoetrope/tensor/state_dict.h"

namespace zoetrope {

class RunningMeans {
 public:
  using Values = std::map<std::string, std::vector<double>>;

  /// `values`: [N], the same N at every call with this name; names have no dots.
  void add(const std::string& name, const at::Tensor& values);
  bool contains(const std::string& name) const { return sums_.contains(name); }
  /// The mean of everything that was added by name, and starts again. Waits for the device.
  Values read();

  /// `sum_<name>` and `count_<name>`.
  StateDict state() const;
  /// Takes what state() gave, among other things.
  void restore(const StateDict& state);

 private:
  struct Sum {
    at::Tensor total;  ///< fp64 [N]
    int64_t count = 0;
  };

  std::map<std::string, Sum> sums_;
};

}  // namespace zoetrope
