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

/// Calls `visit` with every region and the offset of its log sums.
template <class Visit>
void for_each_region(const WanTransformerConfig& config, const BlockContext& context,
                     const at::Tensor& query_BND, int64_t num_keys, Visit visit) {
  const AttentionRegions all{{{0, query_BND.size(1)}, {{0, num_keys}}}};
  int64_t first_sum = 0;
  for (const AttentionRegion& region : context.regions ? *context.regions : all) {
    visit(region, first_sum);
    first_sum += query_BND.size(0) * config.num_attention_heads * region.queries.size();
  }
}

kernels::AttentionShape shape_of(const WanTransformerConfig& config, int64_t batch,
                                 const AttentionRegion& region) {
  return {batch, config.num_attention_heads, region.queries.size(), region.num_keys(),
          config.attention_head_dim};
}

}  // namespace

void region_attention_forward(const WanTransformerConfig& config, const BlockContext& context,
                              int64_t index, int64_t batch, AttentionActivations& attention) {
  attention.out = at::empty_like(attention.query_norm.out);
  attention.log_sums = at::empty({config.num_attention_heads * attention.out.size(0)}, at::kFloat);
  attention.seen_keys = by_sample(attention.key_norm.out, batch);
  attention.seen_values = by_sample(attention.values, batch);
  if (context.streaming) {
    const VisibleKeys visible =
        context.streaming->extend(index, attention.seen_keys, attention.seen_values);
    attention.seen_keys = visible.keys;
    attention.seen_values = visible.values;
  }
  const at::Tensor query = by_sample(attention.query_norm.out, batch);
  const at::Tensor out = by_sample(attention.out, batch);
  float* log_sums = attention.log_sums.mutable_data_ptr<float>();
  for_each_region(config, context, query, attention.seen_keys.size(1),
                  [&](const AttentionRegion& region, int64_t first_sum) {
                    const at::Tensor keys = select_ranges(attention.seen_keys, region.keys);
                    const at::Tensor values = select_ranges(attention.seen_values, region.keys);
                    kernels::packed_attention(
                        element_of(out), shape_of(config, batch, region),
                        {tokens_of(queries_of(query, region)), tokens_of(keys), tokens_of(values),
                         tokens_of(queries_of(out, region)), log_sums + first_sum});
                  });
  if (context.streaming) context.streaming->finish(index);
}

void region_attention_backward(const WanTransformerConfig& config, const BlockContext& context,
                               int64_t batch, const AttentionActivations& attention,
                               const at::Tensor& d_out, const AttentionRowGradients& gradients) {
  const at::Tensor query = by_sample(attention.query_norm.out, batch);
  const at::Tensor out = by_sample(attention.out, batch);
  const at::Tensor d_out_BND = by_sample(d_out, batch);
  const at::Tensor d_query = by_sample(gradients.query, batch);
  // Keys are seen by several regions, whose gradients are summed in fp32.
  const at::Tensor d_keys = at::zeros(attention.seen_keys.sizes(), at::kFloat);
  const at::Tensor d_values = at::zeros(attention.seen_keys.sizes(), at::kFloat);
  float* log_sums = attention.log_sums.mutable_data_ptr<float>();
  for_each_region(
      config, context, query, attention.seen_keys.size(1),
      [&](const AttentionRegion& region, int64_t first_sum) {
        const at::Tensor keys = select_ranges(attention.seen_keys, region.keys);
        const at::Tensor values = select_ranges(attention.seen_values, region.keys);
        const at::Tensor d_region_keys = at::empty(keys.sizes(), keys.options());
        const at::Tensor d_region_values = at::empty(keys.sizes(), keys.options());
        kernels::packed_attention_backward(
            element_of(out), shape_of(config, batch, region),
            {tokens_of(queries_of(query, region)), tokens_of(keys), tokens_of(values),
             tokens_of(queries_of(out, region)), log_sums + first_sum},
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
  by_sample(gradients.key, batch).copy_(d_keys.narrow(1, num_past, num_own));
  by_sample(gradients.value, batch).copy_(d_values.narrow(1, num_past, num_own));
}

}  // namespace zoetrope
