// The averaged weights in place of the trained ones, for as long as something is measured.
#pragma once

#include "zoetrope/optim/exponential_moving_average.h"

namespace zoetrope {

/// The averaged weights are in the network as long as this lives; with null nothing happens.
class UseAverage {
 public:
  explicit UseAverage(ExponentialMovingAverage* average) : average_(average) {
    if (average_ != nullptr) average_->swap();
  }
  ~UseAverage() {
    if (average_ != nullptr) average_->swap();
  }
  UseAverage(const UseAverage&) = delete;
  UseAverage& operator=(const UseAverage&) = delete;

 private:
  ExponentialMovingAverage* average_;
};

}  // namespace zoetrope
