// Knowledge distillation: at the states of a teacher's many-step sampling trajectories, the student
// predicts where the teacher arrives, so that it samples in few steps. The trajectories are made
// once and kept on disk. Source: Luhman & Luhman 2021 (arXiv 2101.02388, equation 4); Yin et al.
// 2024 (CausVid, arXiv 2412.07772, section 4.3); FastVideo methods/knowledge_distillation/kd.py.
#pragma once

#include <optional>

#include "zoetrope/config/network_passes.h"
#include "zoetrope/config/schema.h"
#include "zoetrope/data/trajectory_cache.h"
#include "zoetrope/methods/method.h"

namespace zoetrope {

struct KnowledgeDistillationConfig {
  std::vector<int64_t> t_list;
  std::optional<int64_t> student_sample_steps;
  std::string teacher_path_cache;
  double teacher_guidance_scale = 1.0;
  int64_t teacher_inference_steps = 48;
  static void describe(config::Schema<KnowledgeDistillationConfig>& schema);
};

class KnowledgeDistillationMethod : public TrainingMethod {
 public:
  /// Needs the role student (trained); teacher (frozen) may be left out when the cache is complete.
  /// Throws ConfigError otherwise, and when a step of the student is none of the teacher's.
  KnowledgeDistillationMethod(const KnowledgeDistillationConfig& config, MethodContext context);

  /// Without the trajectories, which are made before the first step.
  static config::MethodWork work(const KnowledgeDistillationConfig& config,
                                 int64_t num_latent_frames);

  /// Makes what is missing of the cache, each data group its share, then frees the teacher. Throws
  /// DataError when the cache is of another teacher, of other settings or of other data, or ranks
  /// do not share its folder; ConfigError when it is incomplete and there is no teacher.
  void prepare_data(const RowReader& rows, const Mesh& mesh) override;
  /// Losses `total_loss` and `kd_loss` (the same); metric step_metric(). The text is the cache's.
  /// Throws DataError when that of a row is not the row's.
  StepOutput single_train_step(const Batch& raw, const StepIndex& index) override;
  std::vector<RoleOptimizer*> optimizers(int64_t step) override;
  std::vector<RoleOptimizer*> role_optimizers() override { return {&optimizer_}; }
  /// The student's steps, along the flow, as the trajectories are.
  std::optional<FewStepRollout> few_step_rollout() override;

 protected:
  int64_t num_student_steps() const { return static_cast<int64_t>(entries_.size()); }
  /// Which of the student's steps a batch is trained at: int64 on the CPU, [B], or [B, T] for one
  /// of each frame. num_student_steps() is a finished frame: the student gets it as it is, at
  /// timestep 0, and it does not count in the loss. At least one frame is not finished.
  virtual at::Tensor draw_steps(const Batch& raw, int64_t num_frames);
  /// What the mean of draw_steps() is logged as.
  virtual std::string step_metric() const { return "kd_step_idx"; }

 private:
  /// A batch's part of the trajectories, on the student's device, fp32.
  struct Target {
    at::Tensor noisy_BTCHW;
    at::Tensor clean_BTCHW;
  };

  TrajectoryRecipe recipe(const RowReader& rows, const Mesh& mesh) const;
  void require_teacher(const std::vector<int64_t>& missing) const;
  bool make_missing(const std::vector<int64_t>& missing, const RowReader& rows, const Mesh& mesh);
  void check_texts(const RowReader& rows, const std::vector<int64_t>& missing) const;
  void check_text(const Trajectory& trajectory, const at::Tensor& text_LD,
                  const SampleInfo& info) const;
  std::vector<Trajectory> read_trajectories(const Batch& raw) const;
  Target target_at(const std::vector<Trajectory>& trajectories, const at::Tensor& steps,
                   const TrainingBatch& batch) const;
  LatentsSource latents_source();

  KnowledgeDistillationConfig config_;
  ModelBase* teacher_;  ///< null without one, and once the cache is complete
  RoleOptimizer optimizer_;
  FlowMatchSchedule schedule_;
  std::vector<int64_t> teacher_timesteps_;
  std::vector<int64_t> entries_;  ///< of teacher_timesteps_, one for each step of the student
  at::Tensor timesteps_K_;        ///< t_list in fp32, on the student's device
  std::optional<TrajectoryCache> cache_;  ///< set by prepare_data
};

}  // namespace zoetrope
