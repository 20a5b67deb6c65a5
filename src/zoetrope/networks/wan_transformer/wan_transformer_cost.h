// What a pass through a Wan transformer costs: floating-point operations and the bytes of
// activations, counted from the operations of fused_block_forward.cpp and transformer_block.cpp.
// Whoever changes what they keep changes it here; tests compare with measured bytes. Plain numbers.
// Legend: R rows of tokens (batch x tokens), D width, F feed-forward width, c bytes of the compute
// type. Tensor-parallel ranks have all rows, and of what lies between split layers their part.
#pragma once

#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"

namespace zoetrope {

/// One forward pass as a rank's blocks see it.
struct PassShape {
  int64_t batch = 1;
  int64_t num_tokens = 0;     ///< queries of a row of the batch on this rank
  double keys_per_query = 0;  ///< mean
  int64_t text_tokens = 0;    ///< 0 without text
  int64_t image_tokens = 0;
  int64_t time_groups = 1;      ///< timesteps of a row
  int64_t modulation_rows = 1;  ///< for those of this rank's tokens (SequenceShard::own_rows)
  /// Keys of a row, of frames of the past, that are copied for the backward pass; of all heads, by
  /// the ranks that share the sequence.
  int64_t kept_keys = 0;
  int64_t sequence_ranks = 1;
  int64_t tensor_ranks = 1;

  int64_t rows() const { return batch * num_tokens; }
};

/// Multiplications and additions (2 for each pair) of a forward pass on a rank. Action modules are
/// left out.
double forward_flops(const WanTransformerConfig& config, const PassShape& shape);

/// Which implementation of the blocks is meant: on CPUs the fused one, on GPUs the plain one.
enum class BlockKind { kFused, kPlain };

struct ActivationBytes {
  double block_input = 0;  ///< what every block keeps, recomputed or not
  double block = 0;        ///< what a block keeps beside its input where it is not recomputed
  double context = 0;      ///< frames of the past, kept by every block
  double head = 0;         ///< embeddings and output head
  double forward = 0;      ///< of a block while it runs without a graph
  double backward = 0;     ///< beside a block's activations while its gradient is computed
};

/// For passes in a compute type of `element_bytes` (4 or 2).
ActivationBytes activation_bytes(const WanTransformerConfig& config, const PassShape& shape,
                                 int64_t element_bytes, BlockKind kind);

}  // namespace zoetrope
