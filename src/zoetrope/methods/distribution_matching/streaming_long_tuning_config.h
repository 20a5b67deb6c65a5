// The config of streaming long tuning, and what it must be. Source: FastVideo
// train/methods/distribution_matching/streaming_long_tuning.py (keys and defaults).
#pragma once

#include "zoetrope/methods/distribution_matching/distill_schedule.h"
#include "zoetrope/methods/distribution_matching/self_forcing_method.h"

namespace zoetrope {

struct StreamingLongTuningConfig : SelfForcingConfig {
  std::optional<int64_t> streaming_chunk_size;
  std::optional<int64_t> streaming_max_length;
  DistillScheduleConfig multi_phased_distill_schedule;
  int64_t streaming_anchor_inject_k = 1;
  bool streaming_reencode_overlap_anchor = true;
  bool streaming_require_full_blocks = false;
  bool real_score_cfg = true;
  std::optional<int64_t> streaming_fixed_overlap_latents;
  std::optional<int64_t> streaming_min_new_frame;
  static void describe(config::Schema<StreamingLongTuningConfig>& schema);

  void check_run(const config::Node& node, const config::RunFacts& run,
                 const config::ReadContext& context) const;
  /// `num_latent_frames`: training.data.num_latent_t.
  std::vector<DistillStage> stages(int64_t num_latent_frames) const;
  /// What DMD2's part of the method is told: `real_score_cfg: false` is a guidance of 1.
  SelfForcingConfig self_forcing() const;
};

}  // namespace zoetrope
