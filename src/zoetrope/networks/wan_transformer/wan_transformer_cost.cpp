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
  const double blocks = static_cast<double>(config.num_layers) *
                        (linear + condition_keys + attention) /
                        static_cast<double>(shape.tensor_ranks);
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
      : ranks(static_cast<double>(shape.tensor_ranks)),
        wide(static_cast<double>(shape.rows() * config.width())),
        split(wide / ranks),
        inner(static_cast<double>(shape.rows() * config.ffn_dim) / ranks),
        rows(static_cast<double>(shape.rows())),
        text(static_cast<double>(shape.batch * shape.text_tokens * config.width())),
        conditions(static_cast<double>(shape.batch * (shape.text_tokens + shape.image_tokens) *
                                       config.width()) /
                   ranks),
        kept_keys(static_cast<double>(shape.batch * shape.kept_keys * config.width()) / ranks),
        modulation(kFloat *
                   static_cast<double>(shape.batch * shape.modulation_rows * 6 * config.width())),
        per_row(kFloat * rows * (9 + 2 * static_cast<double>(config.num_attention_heads) / ranks)),
        c(static_cast<double>(element_bytes)),
        has_image(shape.image_tokens > 0),
        exchanges_heads(shape.sequence_ranks > 1) {}

  static constexpr double kFloat = 4;
  double ranks;  ///< tensor-parallel ones
  double wide;   ///< elements of [R, D]
  double split;  ///< of this rank's part of them
  double inner;  ///< of its part of [R, F]
  double rows;
  double text;        ///< elements
  double conditions;  ///< of this rank's part of keys or values of text and image
  double kept_keys;   ///< of its part
  double modulation;  ///< bytes
  double per_row;     ///< bytes of norms' and attentions' statistics
  double c;
  bool has_image;
  bool exchanges_heads;
};

// fused_block_forward.cpp: norm1.normed, q/k/v (3), rotated q and k (2), attention's output and its
// projection; norm2.normed, query, normed query, attention's output and its projection;
// norm3.normed; the feed-forward's output. Where heads are exchanged, q, k, v and the attention's
// output are there before and after, but for rotated q and k. Sums in front of norm2 and norm3 are
// fp32. Never tensor parallel.
double fused_block_bytes(const Sizes& s) {
  const double compute = (15 + (s.has_image ? 2 : 0) + (s.exchanges_heads ? 2 : 0)) * s.c * s.wide;
  const double sums = 2 * Sizes::kFloat * s.wide;
  return compute + sums + s.per_row + 2 * s.c * s.inner + 3 * s.c * s.conditions + s.modulation;
}

// transformer_block.cpp, what autograd saves: fp32 are the normed tokens of norm1 and norm3, both
// branches before their gates (2), and the sums after the attentions (2), and between split layers
// input and product of three RMS norms (6); of the compute type norm1, norm2, norm3, and between
// split layers v, rotated q and k, attended (4; attended twice where heads are exchanged), query,
// attended (2).
double plain_block_bytes(const Sizes& s) {
  const double whole = (6 * Sizes::kFloat + 3 * s.c) * s.wide;
  const double num_split = 6 + (s.has_image ? 2 : 0) + (s.exchanges_heads ? 1 : 0);
  const double split = (6 * Sizes::kFloat + num_split * s.c) * s.split;
  return whole + split + s.per_row + 2 * s.c * s.inner +
         (3 * s.c + 2 * Sizes::kFloat) * s.conditions + s.modulation;
}

}  // namespace

ActivationBytes activation_bytes(const WanTransformerConfig& config, const PassShape& shape,
                                 int64_t element_bytes, BlockKind kind) {
  const Sizes s(config, shape, element_bytes);
  const bool fused = kind == BlockKind::kFused;
  ActivationBytes bytes;
  bytes.block_input = Sizes::kFloat * s.wide;
  bytes.block = fused ? fused_block_bytes(s) : plain_block_bytes(s);
  bytes.context = 2 * s.c * s.kept_keys;
  // The chunk's own keys and values stand behind those of the past.
  if (shape.kept_keys > 0) bytes.block += 2 * s.c * s.split;
  // The last block's output, its norm in fp32 and in the compute type; patches in and out; the
  // text's embedding.
  const auto patch =
      static_cast<double>(config.patch_elements() * (config.in_channels + config.out_channels));
  bytes.head = (2 * Sizes::kFloat + s.c) * s.wide + s.c * (s.rows * patch + 3 * s.text);
  bytes.forward = bytes.block_input + bytes.block;
  // At the feed-forward everything is still there beside the gradients of output and branch; at the
  // self attention the feed-forward's activations are not, but the gradients of q, k, v are.
  double at_feed_forward = (2 * Sizes::kFloat + s.c) * s.wide;
  const double seen_keys = shape.kept_keys > 0 || config.is_causal || (fused && s.exchanges_heads)
                               ? s.kept_keys + s.split
                               : 0.0;
  double at_attention = 3 * Sizes::kFloat * s.wide + 5 * s.c * s.split - 2 * s.c * s.inner +
                        2 * (Sizes::kFloat + s.c) * seen_keys;
  // Gradients of q, k, v on their way back, sent and received, those of the query and the output.
  if (s.exchanges_heads) at_attention += 8 * s.c * s.split;
  if (s.ranks > 1) {
    // A sum over ranks: what is sent and received, also in fp32, the rank's part and all sums.
    const double sum = (3 * s.c + (s.c < Sizes::kFloat ? Sizes::kFloat : 0)) * s.wide +
                       (Sizes::kFloat + s.c) * s.split;
    at_feed_forward += sum;
    at_attention += sum;
  }
  bytes.backward = std::max(at_feed_forward, at_attention);
  return bytes;
}

}  // namespace zoetrope
