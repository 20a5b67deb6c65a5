// The `training.data` section: which prepared datasets are read, how they are mixed and what shape
// they have. Plain values; opens no file. Source: FastVideo train/utils/training_config.py (names
// and defaults).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "zoetrope/config/schema.h"

namespace zoetrope {

/// One prepared dataset folder and how many times each of its rows counts.
struct DataSource {
  std::string path;
  int64_t repeat = 1;  ///< 0 leaves the folder out
};

/// What `data_path` names. In YAML: a path, `"a:2,b"`, a list of paths, or a map of path to repeat.
struct DataSources {
  std::vector<DataSource> sources;
};

struct DataConfig {
  DataSources data_path;
  std::string preprocessed_data_type = "t2v";
  int64_t train_batch_size = 1;
  int64_t dataloader_num_workers = 0;
  double training_cfg_rate = 0.0;
  std::string sampler = "keyed";  ///< ours
  int64_t seed = 0;
  int64_t num_height = 0;
  int64_t num_width = 0;
  int64_t num_latent_t = 0;
  int64_t num_frames = 0;

  static void describe(config::Schema<DataConfig>& schema);
};

namespace config {

template <>
struct Type<DataSources> {
  static std::string name() { return "path, list of paths, or map of path to repeat"; }
  static bool read(const Node& node, DataSources& value, const ReadContext& context);
  static Node write(const DataSources& value);
  static const AnySchema* schema() { return nullptr; }
};

}  // namespace config
}  // namespace zoetrope
