// A run's checkpoints: when they are written, what is in them, and going on from one. Knows no
// concrete model, method or callback. Source: FastVideo train/utils/checkpoint.py (layout, keys);
// docs/decisions/0005-checkpoints.md.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "zoetrope/checkpoint/checkpoint_writer.h"
#include "zoetrope/data/loader.h"
#include "zoetrope/train/run_config.h"
#include "zoetrope/train/training_state.h"

namespace zoetrope {

class RunCheckpoints {
 public:
  struct Options {
    CheckpointConfig checkpoint;
    config::Node raw_config;       ///< the document after overrides
    config::Node resolved_config;  ///< with every default
    int64_t samples_per_step = 1;  ///< of all micro-batches and ranks
    std::shared_ptr<const Mesh> mesh = std::make_shared<Mesh>();
    std::shared_ptr<MessageBoard> board = std::make_shared<MessageBoard>();
  };

  /// What a checkpoint is taken of, and restored into.
  struct Parts {
    RunState& run;
    const NamedCallbacks& callbacks;
    DataLoader& loader;
  };

  /// With resume_from_checkpoint the checkpoint is looked up and its config
  /// compared with the run's now, before anything large is done with it. Throws CheckpointError or
  /// ConfigError when the run cannot go on from it, and when a fresh run would mix with the
  /// checkpoints of another one.
  explicit RunCheckpoints(Options options);

  /// Restores everything from the checkpoint that was found, and `parts.run.step`; a fresh run is
  /// left as it is.
  void resume(const Parts& parts);
  /// Writes a checkpoint when `parts.run.step` is due.
  void save_when_due(const Parts& parts);
  /// Writes a checkpoint of `parts.run.step` unless there is one, and waits until it is on disk.
  /// Nothing when checkpoints are off. Throws CheckpointError when it could not be written.
  void save_last(const Parts& parts);
  /// Must have returned before weights, moments or averages change.
  void wait_for_copy();

  bool enabled() const { return writer_ != nullptr; }
  /// Whether the run goes on from a checkpoint.
  bool resuming() const { return resume_from_.has_value(); }
  /// Seconds that the run has waited for checkpoints.
  double waited_sec() const;

 private:
  std::optional<CheckpointFolder> resolve_on_first_rank(const std::string& resume) const;
  void save(const Parts& parts);
  std::string metadata(int64_t step, const DataLoader& loader) const;
  void restore_loader(const nlohmann::json& metadata, DataLoader& loader) const;

  Options options_;
  std::optional<CheckpointFolder> resume_from_;
  std::unique_ptr<CheckpointWriter> writer_;  ///< null when checkpoints are off
  int64_t last_saved_step_ = 0;
};

/// What RunCheckpoints needs of a run's config.
RunCheckpoints::Options checkpoint_options(
    const RunConfig& config, std::shared_ptr<const Mesh> mesh = std::make_shared<Mesh>(),
    std::shared_ptr<MessageBoard> board = std::make_shared<MessageBoard>());

}  // namespace zoetrope
