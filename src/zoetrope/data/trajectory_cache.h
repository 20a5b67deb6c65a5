// A teacher's sampling trajectories on disk, one file for each row of the data: which are there,
// reading and writing one, and whether they are what a run needs. Knows no model. Source: FastVideo
// train/methods/knowledge_distillation/kd.py, whose folder it is: `metadata.json`,
// `samples/<row>.pt` and `COMPLETE`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

namespace zoetrope {

/// What the teacher did for one row, on the CPU. Legend: S sampling steps, T latent frames, C
/// latent channels, H, W latent height and width, L text tokens, D text width.
struct Trajectory {
  at::Tensor latents_STCHW;  ///< bf16: normalised latents before each step
  at::Tensor timesteps_S;    ///< int64, descending
  at::Tensor clean_TCHW;     ///< what the teacher arrived at
  at::Tensor text_embedding_LD;
  at::Tensor text_attention_mask_L;
};

/// How trajectories are made: what must be the same for a run to use them.
struct TrajectoryRecipe {
  std::string teacher;          ///< where its weights come from; empty: any teacher's will do
  std::string teacher_weights;  ///< their checksum; empty likewise
  int64_t num_steps = 0;
  double guidance_scale = 1.0;
  double flow_shift = 1.0;
  int64_t num_latent_frames = 0;
  std::string data_path;  ///< stored, not compared: data may move
  int64_t num_rows = 0;
};

class TrajectoryCache {
 public:
  /// Throws DataError that lists every difference when the folder holds trajectories of another
  /// recipe. A cache of FastVideo's says less of itself (it has no guidance, whatever its config
  /// said), and the teacher's name stands for its weights. The folder may be absent.
  TrajectoryCache(std::filesystem::path folder, TrajectoryRecipe recipe);

  const std::filesystem::path& folder() const { return folder_; }
  int64_t num_rows() const { return recipe_.num_rows; }
  /// Whether it was marked complete. Throws DataError when it was, but a file is gone.
  bool complete() const;
  /// Rows of [first, last) without a whole file, ascending; a half-written file does not count.
  std::vector<int64_t> missing_rows(int64_t first, int64_t last) const;

  /// Makes the folder ready for write(): metadata, and no leftovers of a killed run. Before any
  /// process writes.
  void begin_writing();
  /// Adds a row's trajectory; it appears whole or not at all.
  void write(int64_t row, const Trajectory& trajectory);
  /// Every row is there.
  void mark_complete();

  /// Views into the row's file. Throws DataError that names the file when it is missing, damaged or
  /// something else.
  Trajectory read(int64_t row) const;

 private:
  std::filesystem::path sample_path(int64_t row) const;
  void check_metadata(const nlohmann::json& stored) const;

  std::filesystem::path folder_;
  TrajectoryRecipe recipe_;
};

}  // namespace zoetrope
