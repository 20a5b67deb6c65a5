// `multi_phased_distill_schedule`: which stage of long tuning a step belongs to, in the three forms
// that a config may have (nothing, text, a list). Plain values; knows no tensor. Source: FastVideo
// train/methods/distribution_matching/streaming_long_tuning.py (keys, forms and defaults).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "zoetrope/config/schema.h"

namespace zoetrope {

/// One entry of the list form. What is absent is taken from the method's own key of that name.
struct DistillStageConfig {
  std::optional<std::string> stage;
  std::optional<int64_t> start_step;
  std::optional<int64_t> end_step;
  std::optional<int64_t> num_latent_t;
  std::optional<bool> streaming_training;
  std::optional<int64_t> streaming_chunk_size;
  std::optional<int64_t> streaming_max_length;
  std::optional<int64_t> max_length;
  std::optional<int64_t> streaming_min_new_frame;
  std::optional<int64_t> streaming_fixed_overlap_latents;
  static void describe(config::Schema<DistillStageConfig>& schema);
};

/// Absent, null or "": no entries, one endless streaming stage. Text: `end:frames` or
/// `start:end:frames` with commas between, the first without and the others with streaming.
struct DistillScheduleConfig {
  std::vector<DistillStageConfig> entries;
};

/// What stages take from the method where they say nothing.
struct DistillStageDefaults {
  int64_t block_size = 1;  ///< method.chunk_size
  std::optional<int64_t> chunk_size;
  std::optional<int64_t> max_length;
  std::optional<int64_t> least_new_frames;
  std::optional<int64_t> overlap;
  int64_t num_latent_frames = 0;  ///< training.data.num_latent_t; 0 when it is not known yet
};

/// A stage with everything filled in. Lengths are in latent frames.
struct DistillStage {
  std::string name;
  int64_t start_step = 0;
  std::optional<int64_t> end_step;  ///< the first step after it; none: open
  bool streaming = false;
  int64_t num_frames = 0;          ///< of a clip; streaming: of a whole sequence
  int64_t chunk_size = 0;          ///< streaming: of the window that is scored
  int64_t block_size = 1;          ///< that are generated at once
  std::optional<int64_t> overlap;  ///< streaming: frames of a window that are not new, or
  int64_t least_new_frames = 1;    ///< the least number that is drawn of new ones

  /// Streaming: how many new frames the window after the first `length` frames may have, ascending;
  /// one of them is drawn. For length < num_frames.
  std::vector<int64_t> new_frame_choices(int64_t length) const;
};

/// At least one stage, in order.
std::vector<DistillStage> resolve_stages(const DistillScheduleConfig& schedule,
                                         const DistillStageDefaults& defaults);

/// The index of the stage that `step` belongs to; the last one where none does.
size_t select_stage(const std::vector<DistillStage>& stages, int64_t step);

struct DistillStageFault {
  size_t stage = 0;  ///< index
  std::string message;
};

/// Stages out of order, empty ones, windows without new frames.
std::vector<DistillStageFault> stage_faults(const std::vector<DistillStage>& stages);

/// Of stages without the above: longer than the data's conditions, or, with `full_blocks`, windows
/// whose new frames are not whole blocks.
std::vector<DistillStageFault> stage_length_faults(const std::vector<DistillStage>& stages,
                                                   int64_t num_latent_frames, bool full_blocks);

namespace config {

template <>
struct Type<DistillScheduleConfig> {
  static std::string name() { return "list of stages, text, or null"; }
  static bool read(const Node& node, DistillScheduleConfig& value, const ReadContext& context);
  static Node write(const DistillScheduleConfig& value);
  static const AnySchema* schema() { return &schema_of<DistillStageConfig>(); }
};

}  // namespace config
}  // namespace zoetrope
