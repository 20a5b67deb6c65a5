// Adapter files in the layout of PEFT and Diffusers (`pytorch_lora_weights.safetensors`, as
// WanPipeline.load_lora_weights reads it), and weights with the adapters merged in. Knows no
// network. Source: diffusers loaders/lora_base.py and loaders/peft.py (names and metadata).
#pragma once

#include <filesystem>
#include <vector>

#include "zoetrope/networks/lora/lora_adapters.h"
#include "zoetrope/tensor/named_tensors.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {

inline constexpr const char* kLoraFileName = "pytorch_lora_weights.safetensors";

/// Adapters between a file and a network.
struct LoraWeights {
  int64_t rank = 0;
  double alpha = 0;      ///< the adapters' output is scaled by alpha / rank
  NamedTensors tensors;  ///< `<layer>.lora_A.weight` and `.lora_B.weight` without a prefix
};

/// Reads a file, or `pytorch_lora_weights.safetensors` in a folder. Names may begin with
/// `transformer.` or with the layer itself. Without metadata alpha is the rank, as Diffusers takes
/// it. Throws CheckpointError for what is no adapter file: a half of a pair is missing, ranks
/// differ, other tensors, or an adapter kind that is not plain LoRA (DoRA, rank-stabilised).
LoraWeights read_lora_file(const std::filesystem::path& file_or_folder);

/// Writes `folder`/pytorch_lora_weights.safetensors, tensors in the type that they have, rank and
/// alpha in the metadata that Diffusers reads. Creates the folder.
void write_lora_file(const std::filesystem::path& folder, const LoraWeights& adapters);

/// Copies `weights` into `adapters`. Throws CheckpointError, naming `source`, that lists every
/// missing, unexpected and misshapen tensor, or says that rank or alpha differ.
void load_lora_weights(LoraAdapters& adapters, const LoraWeights& weights,
                       const std::string& source);

/// `base` with W + alpha / rank * B A, computed in fp32, in place of every adapted W; all in
/// `dtype`. Tensors are made one at a time when they are written. Throws CheckpointError when an
/// adapter belongs to no tensor of `base` or does not fit it. Give the weights of the file, not
/// those of a network that computes in bf16.
std::vector<PendingTensor> merged_weights(const NamedTensors& base, const LoraWeights& adapters,
                                          at::ScalarType dtype);

}  // namespace zoetrope
