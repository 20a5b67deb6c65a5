// What `zoetrope export` takes out of a checkpoint: one role's weights by their Diffusers names,
// and the pipeline folder that they belong to. Knows no file layout of exports.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "zoetrope/checkpoint/checkpoint_folder.h"
#include "zoetrope/networks/lora/lora_file.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

struct ExportRequest {
  std::filesystem::path run_or_checkpoint;
  std::string role = "student";
  bool average = false;  ///< the EMA callback's weights
  std::string base;      ///< pipeline folder in place of the config's init_from; empty: that one
};

struct ExportSource {
  CheckpointFolder checkpoint;
  std::filesystem::path pipeline_folder;
  /// As the role had it: its attention, and causal where pipeline_folder's may not be.
  WanTransformerConfig network;
  NamedTensors weights;  ///< of the whole transformer; with adapters, those it started from
  std::optional<LoraWeights> adapters;  ///< of a role that trains adapters
};

/// Reads a checkpoint of ours or of FastVideo, the newest of a run folder. Throws CheckpointError
/// when it is damaged, lacks the role or the average (naming what it has), or does not fit the
/// pipeline folder's transformer (listing every tensor).
ExportSource read_export_source(const ExportRequest& request);

}  // namespace zoetrope
