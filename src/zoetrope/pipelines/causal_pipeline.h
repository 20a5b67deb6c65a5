// Text to video with a causal Wan network, block by block: a block is denoised while it sees the
// finished ones through a key-value cache, handed on, and committed to the cache. Works for clips
// of any length that the cache's window allows. The arithmetic is that of Self-Forcing's rollouts
// in training. Source: Self-Forcing (Huang et al. 2025, arXiv 2506.08009, algorithm 2).
#pragma once

#include "zoetrope/networks/wan_transformer/streaming_network.h"
#include "zoetrope/pipelines/wan_pipeline.h"

namespace zoetrope {

/// Standard normal fp32 of `shape` on the network's device; the same for the same `name`.
using NamedNoise = std::function<at::Tensor(const std::string& name, at::IntArrayRef shape)>;

/// The noise of a seed's video number `index`.
NamedNoise keyed_noise(int64_t seed, int64_t index, at::Device device);

/// Takes the normalised latents [B, C, T, H, W] of a finished block.
using BlockSink = std::function<void(const FrameBlock& block, const at::Tensor& latents_BCTHW)>;

/// A clip on its way: blocks are denoised while they see those that were committed. Draws a block's
/// noise as stream_latents() says. Throws Error as the network's cache.
class BlockStream {
 public:
  BlockStream(StreamingNetwork network, SamplingOptions sampling, NamedNoise noise);
  BlockStream(const BlockStream&) = delete;  // the sampler's noise is that of this object's block
  BlockStream& operator=(const BlockStream&) = delete;

  /// Forgets the clip before.
  void start_clip() const { network_.start_clip(); }
  /// Normalised latents of the next block, of `shape_BCTHW`; fp32.
  at::Tensor denoise(const FrameBlock& block, const GuidedRows& guided,
                     const std::vector<int64_t>& shape_BCTHW,
                     const SamplingProgress& progress = {});
  /// Lets later blocks see this one, whose latents denoise() gave.
  void commit(const FrameBlock& block, const GuidedRows& guided,
              const at::Tensor& clean_BCTHW) const;

 private:
  StreamingNetwork network_;
  SamplingOptions sampling_;
  NamedNoise noise_;
  // Of the block that is denoised.
  std::string block_name_;
  std::vector<int64_t> shape_BCTHW_;
  std::unique_ptr<Sampler> sampler_;  ///< of all blocks: making one reads from the device
};

struct StreamedClip {
  std::vector<int64_t> shape_BCTHW;
  SamplingOptions sampling;
};

/// Samples a clip with `network` and hands each block to `sink` as soon as it is finished, before
/// the network goes on. A block's noise is named `block<i>`, that of its later steps
/// `block<i>.step<k>` and of its context `block<i>.context`, so that a longer clip begins like a
/// shorter one. `progress` counts the steps of all blocks. Throws Error as GuidedRows and the
/// network's cache.
void stream_latents(const StreamingNetwork& network, const GuidedConditioning& conditions,
                    const StreamedClip& clip, const NamedNoise& noise, const BlockSink& sink,
                    const SamplingProgress& progress = {});

}  // namespace zoetrope
