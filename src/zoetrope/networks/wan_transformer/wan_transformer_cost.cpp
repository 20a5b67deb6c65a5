#include "zoetrope/networks/wan_transformer/wan_transformer_cost.h"

#include <algorithm>

namespace zoetrope {

double forward_flops(const WanTransformerConfig& config, const PassShape& shape) {
  const auto width = static_cast<double>(config.width());
  const auto rows = static_cast<double>(shape.rows());
  const auto batch = static_cast<double>(shape.batch);
  const auto ffn_dim = static_cast<double>(config.ffn_dim);
  const auto conditions = static_cast<double>(shape.text_tokens + shape.image_tokens);
  // Projections of the self attention (4), queries and output of the cross attention (2).
  const double linear = 2 * rows * (6 * width * width + 2 * width * ffn_dim);
  const double condition_keys = 2 * batch * conditions * 2 * width * width;
  const double attention = 4 * rows * width * (shape.keys_per_query + conditions);
  const double blocks =
      static_cast<double>(config.num_layers) * (linear + condition_keys + attention);
  const auto patch = static_cast<double>(config.patch_elements());
  const double ends =
      2 * rows * width * patch * static_cast<double>(config.in_channels + config.out_channels);
  const double text = 2 * batch * static_cast<double>(shape.text_tokens) * width *
                      (static_cast<double>(config.text_dim) + width);
  const double time =
      2 * batch * static_cast<double>(shape.time_groups) * width *
      (static_cast<double>(config.freq_dim) + 7 * width);  // two layers and six modulations
  return blocks + ends + text + time;
}

namespace {

struct Sizes {
  Sizes(const WanTransformerConfig& config, const PassShape& shape, int64_t element_bytes)
      : wide(static_cast<double>(shape.rows() * config.width())),
        inner(static_cast<double>(shape.rows() * config.ffn_dim)),
        rows(static_cast<double>(shape.rows())),
        text(static_cast<double>(shape.batch * shape.text_tokens * config.width())),
        image(static_cast<double>(shape.batch * shape.image_tokens * config.width())),
        kept_keys(static_cast<double>(shape.batch * shape.kept_keys * config.width())),
        modulation(
            static_cast<double>(shape.batch * shape.time_groups * 6 * config.width() * kFloat)),
        c(static_cast<double>(element_bytes)) {}

  static constexpr double kFloat = 4;
  double wide;   ///< elements of [R, D]
  double inner;  ///< of [R, F]
  double rows;
  double text, image, kept_keys;
  double modulation;  ///< bytes
  double c;
};

// fused_block_forward.cpp: norm1.normed, q/k/v (3), rotated q and k (2), attention's output and its
// projection; norm2.normed, query, normed query, attention's output and its projection;
// norm3.normed; the feed-forward's output. Sums in front of norm2 and norm3 are fp32.
double fused_block_bytes(const Sizes& s, const PassShape& shape) {
  const double compute = (15 + (s.image > 0 ? 2 : 0)) * s.c * s.wide;
  const double sums = 2 * Sizes::kFloat * s.wide;
  const double per_row = Sizes::kFloat * s.rows * (9 + 2 * static_cast<double>(shape.num_heads));
  return compute + sums + per_row + 2 * s.c * s.inner + 3 * s.c * (s.text + s.image) + s.modulation;
}

// transformer_block.cpp, what autograd saves: fp32 are the normed tokens of norm1 and norm3, input
// and product of three RMS norms (6), both branches before their gates (2), and the sums after the
// attentions (2); of the compute type norm1, v, rotated q and k, attended (5), norm2, query,
// attended (3), norm3.
double plain_block_bytes(const Sizes& s, const PassShape& shape) {
  const double fp32 = 12 * Sizes::kFloat * s.wide;
  const double compute = (9 + (s.image > 0 ? 2 : 0)) * s.c * s.wide;
  const double per_row = Sizes::kFloat * s.rows * (9 + 2 * static_cast<double>(shape.num_heads));
  return fp32 + compute + per_row + 2 * s.c * s.inner +
         (3 * s.c + 2 * Sizes::kFloat) * (s.text + s.image) + s.modulation;
}

}  // namespace

ActivationBytes activation_bytes(const WanTransformerConfig& config, const PassShape& shape,
                                 int64_t element_bytes, BlockKind kind) {
  const Sizes s(config, shape, element_bytes);
  const bool fused = kind == BlockKind::kFused;
  ActivationBytes bytes;
  bytes.block_input = Sizes::kFloat * s.wide;
  bytes.block = fused ? fused_block_bytes(s, shape) : plain_block_bytes(s, shape);
  bytes.context = 2 * s.c * s.kept_keys;
  // The chunk's own keys and values stand behind those of the past.
  if (shape.kept_keys > 0) bytes.block += 2 * s.c * s.wide;
  // The last block's output, its norm in fp32 and in the compute type; patches in and out; the
  // text's embedding.
  const auto patch =
      static_cast<double>(config.patch_elements() * (config.in_channels + config.out_channels));
  bytes.head = (2 * Sizes::kFloat + s.c) * s.wide + s.c * (s.rows * patch + 3 * s.text);
  bytes.forward = bytes.block_input + bytes.block;
  // At the feed-forward everything is still there beside the gradients of output and branch; at the
  // self attention the feed-forward's activations are not, but the gradients of q, k, v are.
  const double at_feed_forward = (2 * Sizes::kFloat + s.c) * s.wide;
  const double seen_keys =
      shape.kept_keys > 0 || config.is_causal
          ? static_cast<double>(shape.batch * (shape.kept_keys + shape.num_tokens) * config.width())
          : 0.0;
  const double at_attention = (3 * Sizes::kFloat + 5 * s.c) * s.wide - 2 * s.c * s.inner +
                              2 * (Sizes::kFloat + s.c) * seen_keys;
  bytes.backward = std::max(at_feed_forward, at_attention);
  return bytes;
}

}  // namespace zoetrope
