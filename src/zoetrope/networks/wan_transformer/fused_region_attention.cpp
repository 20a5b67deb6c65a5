#include "zoetrope/networks/wan_transformer/fused_region_attention.h"

#include <ATen/ATen.h>

#include "zoetrope/networks/wan_transformer/plain_layers.h"

namespace zoetrope {
namespace {

/// [B * N, D], whose rows may be slices, as [B, N, D].
at::Tensor by_sample(const at::Tensor& rows, int64_t batch) {
  return rows.unflatten(0, {batch, -1});
}

kernels::HeadTokens tokens_of(const at::Tensor& x_BND) {
  return {x_BND.mutable_data_ptr(), x_BND.stride(1), x_BND.stride(0)};
}

at::Tensor queries_of(const at::Tensor& x_BND, const AttentionRegion& region) {
  return x_BND.narrow(1, region.queries.begin, region.queries.size());
}

kernels::AttentionOperands operands_of(const AttentionActivations& attention,
                                       const AttentionRegion& region, const at::Tensor& keys,
                                       const at::Tensor& values, int64_t first_sum) {
  return {tokens_of(queries_of(attention.seen_queries, region)), tokens_of(keys), tokens_of(values),
          tokens_of(queries_of(attention.seen_out, region)),
          attention.log_sums.mutable_data_ptr<float>() + first_sum};
}

/// Calls `visit` with every region, its shape and the offset of its log sums.
template <class Visit>
void for_each_region(const WanTransformerConfig& config, const BlockContext& context,
                     const AttentionActivations& attention, Visit visit) {
  const at::Tensor& query_BND = attention.seen_queries;
  const AttentionRegions all{{{0, query_BND.size(1)}, {{0, attention.seen_keys.size(1)}}}};
  const int64_t num_heads = query_BND.size(2) / config.attention_head_dim;
  int64_t first_sum = 0;
  for (const AttentionRegion& region : context.regions ? *context.regions : all) {
    const kernels::AttentionShape shape{query_BND.size(0), num_heads, region.queries.size(),
                                        region.num_keys(), config.attention_head_dim};
    visit(region, shape, first_sum);
    first_sum += shape.batch * num_heads * shape.num_queries;
  }
}

}  // namespace

void region_attention_forward(const WanTransformerConfig& config, const BlockContext& context,
                              int64_t index, int64_t batch, AttentionActivations& attention) {
  const std::vector<at::Tensor> qkv = context.sequence.scatter_heads(
      {by_sample(attention.query_norm.out, batch), by_sample(attention.key_norm.out, batch),
       by_sample(attention.values, batch)});
  attention.out = at::empty_like(attention.query_norm.out);
  attention.seen_queries = qkv[0];
  attention.seen_keys = qkv[1];
  attention.seen_values = qkv[2];
  attention.seen_out = context.sequence.is_whole() ? by_sample(attention.out, batch)
                                                   : at::empty(qkv[0].sizes(), qkv[0].options());
  attention.log_sums = at::empty({qkv[0].numel() / config.attention_head_dim}, at::kFloat);
  if (!context.sequence.is_whole()) {
    attention.query_norm.out.reset();  // copied by the exchange
    attention.key_norm.out.reset();
  }
  if (context.streaming) {
    const VisibleKeys visible =
        context.streaming->extend(index, attention.seen_keys, attention.seen_values);
    attention.seen_keys = visible.keys;
    attention.seen_values = visible.values;
  }
  for_each_region(
      config, context, attention,
      [&](const AttentionRegion& region, const kernels::AttentionShape& shape, int64_t first_sum) {
        const at::Tensor keys = select_ranges(attention.seen_keys, region.keys);
        const at::Tensor values = select_ranges(attention.seen_values, region.keys);
        kernels::packed_attention(element_of(keys), shape,
                                  operands_of(attention, region, keys, values, first_sum));
      });
  if (context.streaming) context.streaming->finish(index);
  if (!context.sequence.is_whole())
    context.sequence.gather_heads(attention.seen_out, by_sample(attention.out, batch));
}

void region_attention_backward(const WanTransformerConfig& config, const BlockContext& context,
                               int64_t batch, const AttentionActivations& attention,
                               const at::Tensor& d_out, const AttentionRowGradients& gradients) {
  const bool whole = context.sequence.is_whole();
  const at::Tensor d_out_BND =
      context.sequence.scatter_heads(by_sample(d_out, batch))[0].contiguous();
  const at::Tensor& query = attention.seen_queries;
  const at::Tensor d_query =
      whole ? by_sample(gradients.query, batch) : at::empty(query.sizes(), query.options());
  // Keys are seen by several regions, whose gradients are summed in fp32.
  const at::Tensor d_keys = at::zeros(attention.seen_keys.sizes(), at::kFloat);
  const at::Tensor d_values = at::zeros(attention.seen_keys.sizes(), at::kFloat);
  for_each_region(
      config, context, attention,
      [&](const AttentionRegion& region, const kernels::AttentionShape& shape, int64_t first_sum) {
        const at::Tensor keys = select_ranges(attention.seen_keys, region.keys);
        const at::Tensor values = select_ranges(attention.seen_values, region.keys);
        const at::Tensor d_region_keys = at::empty(keys.sizes(), keys.options());
        const at::Tensor d_region_values = at::empty(keys.sizes(), keys.options());
        kernels::packed_attention_backward(
            element_of(keys), shape, operands_of(attention, region, keys, values, first_sum),
            {tokens_of(queries_of(d_out_BND, region)), tokens_of(queries_of(d_query, region)),
             tokens_of(d_region_keys), tokens_of(d_region_values)});
        int64_t first = 0;
        for (const IndexRange& range : region.keys) {
          d_keys.narrow(1, range.begin, range.size())
              .add_(d_region_keys.narrow(1, first, range.size()));
          d_values.narrow(1, range.begin, range.size())
              .add_(d_region_values.narrow(1, first, range.size()));
          first += range.size();
        }
      });
  // Frames of the past are constants; the chunk's own keys come last.
  const int64_t num_own = query.size(1);
  const int64_t num_past = attention.seen_keys.size(1) - num_own;
  const at::Tensor d_own_keys = d_keys.narrow(1, num_past, num_own);
  const at::Tensor d_own_values = d_values.narrow(1, num_past, num_own);
  const at::Tensor d_key = by_sample(gradients.key, batch);
  const at::Tensor d_value = by_sample(gradients.value, batch);
  if (whole) {
    d_key.copy_(d_own_keys);
    d_value.copy_(d_own_values);
  } else {
    context.sequence.gather_heads({d_query, d_own_keys, d_own_values},
                                  {by_sample(gradients.query, batch), d_key, d_value});
  }
}

}  // namespace zoetrope
