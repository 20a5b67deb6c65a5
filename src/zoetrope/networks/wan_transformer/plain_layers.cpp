#include "zoetrope/networks/wan_transformer/plain_layers.h"

#include <ATen/ATen.h>

namespace zoetrope {
namespace {

/// Rows of `per_group_BMD` beside the tokens that they belong to: x_BND as [B, M, k, D] and [B, M,
/// 1, D].
at::Tensor group_tokens(const at::Tensor& x_BND, const at::Tensor& per_group_BMD) {
  return x_BND.unflatten(1, {per_group_BMD.size(1), -1});
}

}  // namespace

at::Tensor layer_norm_fp32(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                           double eps) {
  const at::Tensor weight_fp32 = weight.defined() ? weight.to(at::kFloat) : weight;
  const at::Tensor bias_fp32 = bias.defined() ? bias.to(at::kFloat) : bias;
  return at::layer_norm(x.to(at::kFloat), {x.size(-1)}, weight_fp32, bias_fp32, eps)
      .to(x.scalar_type());
}

at::Tensor rms_norm_fp32(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor x_fp32 = x.to(at::kFloat);
  const at::Tensor inverse_rms = (x_fp32.square().mean(-1, true) + eps).rsqrt();
  return (x_fp32 * inverse_rms * weight.to(at::kFloat)).to(x.scalar_type());
}

at::Tensor modulated_layer_norm(const at::Tensor& x_BND, const at::Tensor& shift_BMD,
                                const at::Tensor& scale_BMD, double eps, at::ScalarType dtype) {
  const at::Tensor normed = layer_norm_fp32(x_BND.to(at::kFloat), {}, {}, eps);
  const at::Tensor grouped = group_tokens(normed, shift_BMD);
  return (grouped * (1 + scale_BMD.unsqueeze(2)) + shift_BMD.unsqueeze(2)).flatten(1, 2).to(dtype);
}

at::Tensor add_gated(const at::Tensor& x_BND, const at::Tensor& branch_BND,
                     const at::Tensor& gate_BMD) {
  const at::Tensor gated =
      group_tokens(branch_BND.to(at::kFloat), gate_BMD) * gate_BMD.unsqueeze(2);
  return (x_BND.to(at::kFloat) + gated.flatten(1, 2)).to(x_BND.scalar_type());
}

at::Tensor attention(const at::Tensor& q_BNHd, const at::Tensor& k_BLHd, const at::Tensor& v_BLHd) {
  return at::scaled_dot_product_attention(q_BNHd.transpose(1, 2), k_BLHd.transpose(1, 2),
                                          v_BLHd.transpose(1, 2))
      .transpose(1, 2)
      .flatten(2);
}

at::Tensor region_attention(const at::Tensor& q_BNHd, const at::Tensor& k_BLHd,
                            const at::Tensor& v_BLHd, const AttentionRegions& regions) {
  std::vector<int64_t> sizes;
  for (const AttentionRegion& region : regions) sizes.push_back(region.queries.size());
  const std::vector<at::Tensor> queries = q_BNHd.split_with_sizes(sizes, 1);
  std::vector<at::Tensor> attended;
  for (size_t i = 0; i < regions.size(); ++i) {
    attended.push_back(attention(queries[i], select_ranges(k_BLHd, regions[i].keys),
                                 select_ranges(v_BLHd, regions[i].keys)));
  }
  return at::cat(attended, 1);
}

at::Tensor select_ranges(const at::Tensor& x, const std::vector<IndexRange>& ranges) {
  std::vector<at::Tensor> parts;
  parts.reserve(ranges.size());
  for (const IndexRange& range : ranges) parts.push_back(x.narrow(1, range.begin, range.size()));
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

}  // namespace zoetrope
