// Scaled dot-product attention without mask and its gradient on the CPU, built from the packed
// AVX-512 tiles: scores of a chunk of queries are kept whole, so softmax is exact and needs no
// rescaling; the backward pass computes them again. ATen's scaled_dot_product_attention is its twin
// in tests. Source: Dao et al., "FlashAttention" (2022), backward pass.
#pragma once

#include <cstdint>

#include "zoetrope/kernels/packed_tiles.h"

namespace zoetrope::kernels {

struct AttentionShape {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t num_queries = 0;
  int64_t num_keys = 0;
  int64_t head_dim = 0;
  /// How many equal keys (with equal values) the last key stands for; their gradients are those of
  /// all of them.
  int64_t last_key_count = 1;
};

/// Tokens [batch, tokens, heads * head_dim] with strides in elements.
struct HeadTokens {
  void* data = nullptr;
  int64_t stride = 0;        ///< between tokens
  int64_t batch_stride = 0;  ///< between samples; 0 stands for tokens * stride
};

struct AttentionOperands {
  HeadTokens q;
  HeadTokens k;
  HeadTokens v;
  HeadTokens out;  ///< contiguous (stride heads * head_dim)
  /// [batch, heads, num_queries]: log of each row's sum of exponentials.
  float* log_sums = nullptr;
};

struct AttentionGradients {
  HeadTokens d_out;  ///< contiguous, given
  HeadTokens d_q;
  HeadTokens d_k;
  HeadTokens d_v;
};

/// Writes out and log_sums. All tensors are of type `element`; needs has_packed_matmul(element).
void packed_attention(Element element, const AttentionShape& shape,
                      const AttentionOperands& operands);

/// Overwrites d_q, d_k and d_v.
void packed_attention_backward(Element element, const AttentionShape& shape,
                               const AttentionOperands& operands,
                               const AttentionGradients& gradients);

}  // namespace zoetrope::kernels
