// What `zoetrope sample` was asked for on the command line, and what it makes of it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "zoetrope/pipelines/causal_pipeline.h"
#include "zoetrope/pipelines/pipeline_kind.h"

namespace zoetrope {

/// Unset values were not given.
struct SampleChoices {
  std::string pipeline = "wan";
  std::vector<int64_t> steps;
  std::optional<double> guidance_scale;
  std::optional<double> flow_shift;
  std::optional<std::string> sampler;
  bool warp = false;
  std::optional<std::string> transition;
  std::optional<double> context_noise;
  std::optional<int64_t> frames_per_block;
  std::optional<int64_t> local_attn_size;
  std::optional<int64_t> sink_size;
};

/// How `kind` samples the model of `pipeline_folder`, whose scheduler says the flow shift where
/// none was chosen. Throws ConfigError for options that are not of `kind`, and for steps that do
/// not fit it.
SamplingOptions sampling_options(const SampleChoices& choices, const PipelineKind& kind,
                                 const std::filesystem::path& pipeline_folder, at::Device device);

/// The attention of `network`'s config, but for what was chosen. Throws Error as
/// CausalAttention::check.
CausalAttention causal_attention(WanTransformerConfig network, const SampleChoices& choices);

}  // namespace zoetrope
