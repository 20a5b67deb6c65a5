// What the micro-batches of one step gave, on all ranks: losses and metrics, averaged in the order
// of the micro-batches, so that the logged numbers do not depend on how ranks share them.
#pragma once

#include <string>
#include <vector>

#include "zoetrope/distributed/mesh.h"
#include "zoetrope/methods/method.h"
#include "zoetrope/tracking/tracker.h"

namespace zoetrope {

class StepMetrics {
 public:
  /// Takes losses and metrics of one micro-batch; nothing is copied from the device. Every
  /// micro-batch of a step has the same ones.
  void add(const StepOutput& output);

  struct Means {
    std::vector<Metric> losses;
    std::vector<Metric> metrics;
  };
  /// Over all micro-batches of all ranks, which must all call this: one copy from the device and
  /// one exchange.
  Means means(const Mesh& mesh) const;

 private:
  std::vector<std::string> loss_names_;
  std::vector<std::string> metric_names_;
  std::vector<at::Tensor> losses_;  ///< scalars, micro-batch by micro-batch
  std::vector<double> metrics_;
};

}  // namespace zoetrope
