// A short run of a recorded case's config on any arrangement of ranks, as threads of this process.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "support/recording_tracker.h"
#include "zoetrope/catalog.h"
#include "zoetrope/distributed/mesh.h"
#include "zoetrope/tensor/named_tensors.h"
#include "zoetrope/train/run_config.h"

namespace zoetrope::test {

struct LayoutRun {
  std::string config;  ///< in the folder of the recorded cases
  std::vector<std::string> overrides = {};
  int64_t num_steps = 20;
  int64_t accumulation = 1;
  std::vector<std::string> without_callbacks = {};
};

struct LayoutResult {
  /// What rank 0 logged, by step.
  std::map<int64_t, std::map<std::string, double>> logged;
  /// Whole weights of the trained roles, `student.<parameter>`.
  std::map<std::string, at::Tensor> weights;
  /// Bytes that rank 0 sent for the steps alone, by the name of the mesh's group.
  std::map<std::string, int64_t> sent_bytes;
  std::vector<int64_t> group_elements;  ///< of the student's parameter groups, the root's last
};

/// The config that train_on() trains, on as many ranks as the overrides say. Borrows `catalog`.
RunConfig read_config(const LayoutRun& run, const Catalog& catalog,
                      const std::string& output_dir = "");

/// Trains on `sizes`, from and into the newest checkpoint of `output_dir` if it is not empty.
LayoutResult train_on(const MeshSizes& sizes, const LayoutRun& run,
                      const std::string& output_dir = "");

}  // namespace zoetrope::test
