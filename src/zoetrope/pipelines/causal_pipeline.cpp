#include "zoetrope/pipelines/causal_pipeline.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

namespace zoetrope {
namespace {

/// One clip on its way.
class Streaming {
 public:
  Streaming(const StreamingNetwork& network, const GuidedConditioning& conditions,
            const StreamedClip& clip, const NamedNoise& noise)
      : network_(network),
        clip_(clip),
        noise_(noise),
        guided_(conditions, clip.sampling.guidance_scale, clip.shape_BCTHW[0]) {}

  at::Tensor denoise(const FrameBlock& block, const SamplingProgress& progress) const {
    const std::string name = fmt::format("block{}", block.index);
    const std::vector<int64_t> shape = shape_of(block);
    const auto fresh_noise = [&](int64_t step) {
      return noise_(fmt::format("{}.step{}", name, step), shape);
    };
    const auto velocity = [&](const at::Tensor& rows_BCTHW, const at::Tensor& timestep_B) {
      return network_.velocity(rows_BCTHW, timestep_B, guided_.conditioning(),
                               {block.first, false});
    };
    const auto sampler = make_sampler(clip_.sampling, fresh_noise);
    return run_sampler(*sampler, guided_, velocity, noise_(name, shape), progress);
  }

  /// Lets later blocks see this one.
  void commit(const FrameBlock& block, const at::Tensor& clean_BCTHW) const {
    const auto& few_step = clip_.sampling.few_step;
    const double context_noise = few_step ? few_step->context_noise : 0.0;
    at::Tensor context = clean_BCTHW;
    if (context_noise > 0.0) {
      const at::Tensor noise =
          noise_(fmt::format("block{}.context", block.index), clean_BCTHW.sizes());
      context = few_step->schedule.add_noise(clean_BCTHW, noise,
                                             at::full({1}, context_noise, clean_BCTHW.options()));
    }
    const at::Tensor rows = guided_.rows(context);
    const at::Tensor timestep_B = at::full({rows.size(0)}, context_noise, rows.options());
    network_.velocity(rows, timestep_B, guided_.conditioning(), {block.first, true});
  }

 private:
  std::vector<int64_t> shape_of(const FrameBlock& block) const {
    std::vector<int64_t> shape = clip_.shape_BCTHW;
    shape[2] = block.size;
    return shape;
  }

  const StreamingNetwork& network_;
  const StreamedClip& clip_;
  const NamedNoise& noise_;
  GuidedRows guided_;
};

}  // namespace

void stream_latents(const StreamingNetwork& network, const GuidedConditioning& conditions,
                    const StreamedClip& clip, const NamedNoise& noise, const BlockSink& sink,
                    const SamplingProgress& progress) {
  const c10::NoGradGuard no_gradients;
  const Streaming streaming(network, conditions, clip, noise);
  const std::vector<FrameBlock> blocks =
      split_into_blocks(clip.shape_BCTHW[2], network.num_frames_per_block);
  const auto num_blocks = static_cast<int64_t>(blocks.size());
  network.start_clip();
  for (const FrameBlock& block : blocks) {
    const auto count = [&](int64_t done, int64_t total) {
      if (progress) progress(block.index * total + done, num_blocks * total);
    };
    const at::Tensor clean_BCTHW = streaming.denoise(block, count);
    sink(block, clean_BCTHW);
    if (block.index + 1 < num_blocks) streaming.commit(block, clean_BCTHW);
  }
  network.start_clip();  // frees the keys of the conditions
}

}  // namespace zoetrope
