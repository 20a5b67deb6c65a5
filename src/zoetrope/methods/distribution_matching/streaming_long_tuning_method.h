// Streaming long tuning: Self-Forcing whose clips are longer than a teacher can score. The student
// generates one clip over many steps, a window at a time from its own cache, and is taught on the
// new frames of each window. Stages of whole, shorter clips may come before. Source: Yang et al.
// 2025 (LongLive, arXiv 2509.22622, section 3.3); FastVideo
// train/methods/distribution_matching/streaming_long_tuning.py.
#pragma once

#include "zoetrope/methods/distribution_matching/overlap_anchor.h"
#include "zoetrope/methods/distribution_matching/streaming_long_tuning_config.h"
#include "zoetrope/methods/distribution_matching/streaming_sequence.h"

namespace zoetrope {

/// Streaming stages: every micro-batch generates the next window of the running clips, also within
/// one optimizer step, whose gradient is then the mean over adjacent windows. Batches that come
/// while clips are running are not used. Frames that were stored in the cache stay as the student
/// made them, though its weights change; so do the text's keys.
class StreamingLongTuningMethod : public SelfForcingMethod {
 public:
  /// Throws ConfigError as SelfForcingMethod does, and when stages do not fit.
  StreamingLongTuningMethod(const StreamingLongTuningConfig& config, MethodContext context);

  /// Of the last stage; of windows the first one of a clip, in which all frames are new.
  static config::MethodWork work(const StreamingLongTuningConfig& config,
                                 int64_t num_latent_frames);

  /// Reads the VAE where windows are anchored by it.
  void on_train_start() override;
  /// Losses and tensors as Dmd2Method. Metrics `distill_stage_index` and, of whole clips,
  /// `active_num_latent_t`, of windows `streaming_current_length` (after this one) and
  /// `streaming_max_length`; windows also have the tensor `streaming_chunk_mask` (bool, [B, T, 1,
  /// 1, 1]), the frames that are learned from.
  StepOutput single_train_step(const Batch& raw, const StepIndex& index) override;

  /// The running clips with the student's cache; empty where the next step begins new ones.
  StateDict state_dict() const override;
  void load_state_dict(const StateDict& state) override;

 protected:
  /// One for each sample.
  at::Tensor draw_score_timesteps(const TrainingBatch& batch, const std::string& purpose) override;
  /// The mean distance of each sample.
  at::Tensor score_scale(const at::Tensor& distance_BTCHW) const override;

 private:
  /// What is scored of a clip: frames of the window before, then the new ones.
  struct Window {
    TrainingBatch batch;
    at::Tensor latents_BTCHW;
    at::Tensor mask_BT111;
    std::string purpose;  ///< begins the names of its draws
  };

  const DistillStage& stage() const { return stages_[static_cast<size_t>(sequence_->stage)]; }
  /// The first `num_frames` latent frames of clips without data.
  TrainingBatch prepare_clips(const Batch& raw, int64_t num_frames);
  StepOutput train_on_window(const StepIndex& index);
  /// Begins new clips unless those of this stage are still running.
  void continue_sequence(const Batch& raw, int64_t stage);
  int64_t draw_num_new_frames(const StepIndex& index) const;
  at::Tensor generate_frames(const std::string& purpose, int64_t num_new, const StepIndex& index,
                             bool with_grad);
  Window generate_window(const StepIndex& index, bool with_grad);

  StreamingLongTuningConfig config_;
  std::vector<DistillStage> stages_;
  std::optional<OverlapAnchor> anchor_;        ///< set by on_train_start where it is needed
  std::optional<StreamingSequence> sequence_;  ///< none before the first window
};

}  // namespace zoetrope
