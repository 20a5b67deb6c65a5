#include "zoetrope/pipelines/causal_pipeline.h"

#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include "zoetrope/tensor/random_source.h"

namespace zoetrope {

NamedNoise keyed_noise(int64_t seed, int64_t index, at::Device device) {
  // Draws are named after what they are for, so that they do not depend on each other.
  return [random = KeyedRandomSource(seed), index, device](const std::string& name,
                                                           at::IntArrayRef shape) mutable {
    return random.normal({"sampling.noise" + name, {index}}, shape).to(device);
  };
}

BlockStream::BlockStream(StreamingNetwork network, SamplingOptions sampling, NamedNoise noise)
    : network_(std::move(network)),
      sampling_(std::move(sampling)),
      noise_(std::move(noise)),
      sampler_(make_sampler(sampling_, [this](int64_t step) {
        return noise_(fmt::format("{}.step{}", block_name_, step), shape_BCTHW_);
      })) {}

at::Tensor BlockStream::denoise(const FrameBlock& block, const GuidedRows& guided,
                                const std::vector<int64_t>& shape_BCTHW,
                                const SamplingProgress& progress) {
  const c10::NoGradGuard no_gradients;
  block_name_ = fmt::format("block{}", block.index);
  shape_BCTHW_ = shape_BCTHW;
  const auto velocity = [&](const at::Tensor& rows_BCTHW, const at::Tensor& timestep_B) {
    return network_.velocity(rows_BCTHW, timestep_B, guided.conditioning(), {block.first, false});
  };
  return run_sampler(*sampler_, guided, velocity, noise_(block_name_, shape_BCTHW_), progress);
}

void BlockStream::commit(const FrameBlock& block, const GuidedRows& guided,
                         const at::Tensor& clean_BCTHW) const {
  const c10::NoGradGuard no_gradients;
  const auto& few_step = sampling_.few_step;
  const double context_noise = few_step ? few_step->context_noise : 0.0;
  at::Tensor context = clean_BCTHW;
  if (context_noise > 0.0) {
    const at::Tensor noise =
        noise_(fmt::format("block{}.context", block.index), clean_BCTHW.sizes());
    context = few_step->schedule.add_noise(clean_BCTHW, noise,
                                           at::full({1}, context_noise, clean_BCTHW.options()));
  }
  const at::Tensor rows = guided.rows(context);
  const at::Tensor timestep_B = at::full({rows.size(0)}, context_noise, rows.options());
  network_.velocity(rows, timestep_B, guided.conditioning(), {block.first, true});
}

void stream_latents(const StreamingNetwork& network, const GuidedConditioning& conditions,
                    const StreamedClip& clip, const NamedNoise& noise, const BlockSink& sink,
                    const SamplingProgress& progress) {
  const c10::NoGradGuard no_gradients;
  BlockStream stream(network, clip.sampling, noise);
  const GuidedRows guided(conditions, clip.sampling.guidance_scale, clip.shape_BCTHW[0]);
  const std::vector<FrameBlock> blocks =
      split_into_blocks(clip.shape_BCTHW[2], network.num_frames_per_block);
  const auto num_blocks = static_cast<int64_t>(blocks.size());
  stream.start_clip();
  for (const FrameBlock& block : blocks) {
    const auto count = [&](int64_t done, int64_t total) {
      if (progress) progress(block.index * total + done, num_blocks * total);
    };
    std::vector<int64_t> shape = clip.shape_BCTHW;
    shape[2] = block.size;
    const at::Tensor clean_BCTHW = stream.denoise(block, guided, shape, count);
    sink(block, clean_BCTHW);
    if (block.index + 1 < num_blocks) stream.commit(block, guided, clean_BCTHW);
  }
  stream.start_clip();  // frees the keys of the conditions
}

}  // namespace zoetrope
