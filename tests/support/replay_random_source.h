// Replays the random draws of a golden trace, in their recorded order.
#pragma once

#include <deque>
#include <string>

#include "zoetrope/tensor/random_source.h"

namespace zoetrope::test {

/// Hands out recorded tensors; a draw of another kind or shape than the recorded one is an Error.
class ReplayRandomSource : public RandomSource {
 public:
  struct Draw {
    std::string function;  ///< `randn`, `randn_like`, `normal`, `rand` or `randint`
    at::Tensor values;
  };

  /// `normal` draws were recorded with this mean and standard deviation, which are taken out again.
  ReplayRandomSource(double normal_mean, double normal_std)
      : normal_mean_(normal_mean), normal_std_(normal_std) {}

  void push(Draw draw) { draws_.push_back(std::move(draw)); }
  bool empty() const { return draws_.empty(); }

  at::Tensor normal(const DrawKey& key, at::IntArrayRef shape) override;
  at::Tensor uniform(const DrawKey& key, at::IntArrayRef shape) override;
  at::Tensor integers(const DrawKey& key, int64_t low, int64_t high,
                      at::IntArrayRef shape) override;

 private:
  Draw pop(const DrawKey& key, at::IntArrayRef shape, std::initializer_list<const char*> functions);

  double normal_mean_;
  double normal_std_;
  std::deque<Draw> draws_;
};

}  // namespace zoetrope::test
