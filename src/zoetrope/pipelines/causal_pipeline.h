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

/// Takes the normalised latents [B, C, T, H, W] of a finished block.
using BlockSink = std::function<void(const FrameBlock& block, const at::Tensor& latents_BCTHW)>;

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
