// Linear layers with parameters in a store, and low-rank adapters where a layer has one, as ATen
// operations that autograd differentiates.
#pragma once

#include <optional>
#include <string>

#include "zoetrope/distributed/tensor_parallel.h"
#include "zoetrope/networks/lora/lora_adapters.h"

namespace zoetrope {

/// A linear layer's parameters, with its adapter if it has one. Also those of a norm.
struct LinearParameters {
  const Parameter* weight = nullptr;
  const Parameter* bias = nullptr;  ///< null for a layer without
  std::optional<LowRankParameters> low_rank = std::nullopt;
};

/// The parameters of the linear layer `name`, and its adapter if `adapters` (may be null) has one.
LinearParameters linear_parameters(const ParameterStore& parameters, const LoraAdapters* adapters,
                                   const std::string& name);

/// x W^T + b, with the adapter's (x A^T) B^T * scale.
at::Tensor linear(const LinearParameters& parameters, const at::Tensor& x);

/// The same for a layer of which each rank of `group` has rows (output features), where x is what
/// enter_split_layers() gave: this rank's features of the result.
at::Tensor row_split_linear(const LinearParameters& parameters, const at::Tensor& x,
                            const GroupPointer& group);
/// The same for a layer with bias of which each rank has columns, with its features of the input:
/// the whole result.
at::Tensor column_split_linear(const LinearParameters& parameters, const at::Tensor& x,
                               const GroupPointer& group);

}  // namespace zoetrope
