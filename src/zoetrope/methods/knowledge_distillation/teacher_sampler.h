// A teacher's way from noise to a clean clip in many deterministic steps, with every state on it:
// what a student of few steps is regressed on. Knows no file. Source: Yin et al. 2024 (CausVid,
// arXiv 2412.07772, section 4.3: initialisation from ODE pairs); FastVideo
// methods/knowledge_distillation/kd.py.
#pragma once

#include <vector>

#include "zoetrope/data/trajectory_cache.h"
#include "zoetrope/models/model.h"

namespace zoetrope {

/// The timesteps at which a teacher of `num_steps` steps is asked: of Self-Forcing's table, without
/// their fractions. Throws ConfigError when two of them are the same or one is 0.
std::vector<int64_t> teacher_timesteps(double flow_shift, int64_t num_steps);

class TeacherSampler {
 public:
  struct Options {
    std::vector<int64_t> timesteps;  ///< of teacher_timesteps()
    double guidance_scale = 1.0;     ///< unconditional + scale (conditional - unconditional)
  };

  /// `schedule` gives the noise level of each timestep. Borrows `teacher`.
  TeacherSampler(ModelBase& teacher, FlowMatchSchedule schedule, Options options);

  /// From the standard normal `noise_1TCHW`, conditioned on `batch` (of one row; its
  /// `unconditional` is needed only for a scale other than 1). States are bf16, and the teacher
  /// sees them as such; the clean latents are fp32. Texts of the result are left undefined.
  Trajectory sample(const TrainingBatch& batch, const at::Tensor& noise_1TCHW);

 private:
  at::Tensor guided_velocity(const at::Tensor& noisy, const at::Tensor& timestep_B,
                             const TrainingBatch& batch);

  ModelBase& teacher_;
  FlowMatchSchedule schedule_;
  Options options_;
};

}  // namespace zoetrope
