#include "zoetrope/models/training_batch.h"

#include <ATen/ATen.h>

#include "zoetrope/networks/conditioning_frames.h"

namespace zoetrope {

TrainingBatch frames_of(const TrainingBatch& clips, int64_t first, int64_t num_frames) {
  TrainingBatch frames = clips;
  for (const auto member : {&TrainingBatch::latents_BTCHW, &TrainingBatch::data_latents_BTCHW,
                            &TrainingBatch::noise_BTCHW, &TrainingBatch::noisy_latents_BTCHW}) {
    at::Tensor& latents_BTCHW = frames.*member;
    if (latents_BTCHW.defined()) latents_BTCHW = latents_BTCHW.narrow(1, first, num_frames);
  }
  frames.conditional = frames_of(clips.conditional, first, num_frames);
  frames.unconditional = frames_of(clips.unconditional, first, num_frames);
  return frames;
}

}  // namespace zoetrope
