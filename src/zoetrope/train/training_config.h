// The `training` section and those of its parts that belong to the run itself. Plain values; knows
// no component. Source: FastVideo train/utils/training_config.py (names and defaults); keys of our
// own say so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "zoetrope/config/schema.h"
#include "zoetrope/data/data_config.h"
#include "zoetrope/optim/optimizer_config.h"
#include "zoetrope/tracking/tracker_config.h"

namespace zoetrope {

/// `training.distributed`.
struct DistributedConfig {
  int64_t num_gpus = 1;
  int64_t tp_size = 1;
  std::optional<int64_t> sp_size;  ///< num_gpus / tp_size when absent; set by resolve()
  int64_t hsdp_replicate_dim = 1;
  std::optional<int64_t> hsdp_shard_dim;  ///< num_gpus / tp_size when absent; set by resolve()
  std::string device = "auto";
  bool deterministic = false;         ///< ours
  std::string reduce_dtype = "fp32";  ///< ours
  double rendezvous_timeout_sec = 60.0;
  double collective_timeout_sec = 600.0;

  /// Fills what follows from num_gpus.
  void resolve();
  static void describe(config::Schema<DistributedConfig>& schema);
};

/// `training.loop`.
struct LoopConfig {
  int64_t max_train_steps = 0;
  int64_t gradient_accumulation_steps = 1;

  static void describe(config::Schema<LoopConfig>& schema);
};

/// `training.checkpoint`.
struct CheckpointConfig {
  std::string output_dir;
  std::optional<std::string> resume_from_checkpoint;  ///< absent or empty: start afresh
  int64_t training_state_checkpointing_steps = 0;
  int64_t checkpoints_total_limit = 0;

  static void describe(config::Schema<CheckpointConfig>& schema);
};

/// `training.model`: what all role models of the run share.
struct ModelTrainingConfig {
  std::string weighting_scheme = "uniform";
  double logit_mean = 0.0;
  double logit_std = 1.0;
  double mode_scale = 1.0;
  bool precondition_outputs = false;
  std::optional<std::string> enable_gradient_checkpointing_type;
  std::string compute_dtype = "bf16";

  static void describe(config::Schema<ModelTrainingConfig>& schema);
};

/// `training.vsa`: sparse attention, of which nothing is built; its keys are known so that
/// FastVideo's files load.
struct VsaConfig {
  static void describe(config::Schema<VsaConfig>& schema);
};

/// `training`.
struct TrainingConfig {
  DistributedConfig distributed;
  DataConfig data;
  OptimizerConfig optimizer;
  LoopConfig loop;
  CheckpointConfig checkpoint;
  TrackerConfig tracker;
  ModelTrainingConfig model;
  VsaConfig vsa;
  std::string model_path;  ///< the student's init_from when empty; set by read_run_config
  std::string dit_precision = "fp32";

  static void describe(config::Schema<TrainingConfig>& schema);
};

}  // namespace zoetrope
