// How validation samples: from its config and what the method says about its student to the options
// of each pass over the prompts.
#pragma once

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/callbacks/validation_config.h"
#include "zoetrope/models/causal_model.h"
#include "zoetrope/pipelines/pipeline_kind.h"
#include "zoetrope/pipelines/video_generator.h"

namespace zoetrope {

/// The passes of one validation: one for each number of sampling steps, or one alone for few-step
/// pipelines, at `sampling_timesteps` or else at the method's own steps, always on its schedule.
/// Throws ConfigError when there are neither, or when the steps do not descend.
std::vector<SamplingOptions> validation_passes(const ValidationConfig& config,
                                               const CallbackContext& context,
                                               TrainingMethod& method);

/// Network calls of a pass for a video or block; names its files.
int64_t num_steps(const SamplingOptions& sampling);

/// The student as the causal model that `kind` needs. Throws ConfigError when it is not one.
CausalModelBase& require_causal_student(ModelBase& student, const PipelineKind& kind);

}  // namespace zoetrope
