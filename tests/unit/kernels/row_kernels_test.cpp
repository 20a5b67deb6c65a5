// Every row kernel against its formula in double, gradients by autograd.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "zoetrope/kernels/column_sums.h"
#include "zoetrope/kernels/gated_sum.h"
#include "zoetrope/kernels/residual_norm.h"
#include "zoetrope/kernels/rms_rope.h"

namespace zoetrope::kernels {
namespace {

constexpr double kEps = 1e-6;

struct NormCase {
  RowShape shape;
  bool has_branch;
  bool has_gate;
  bool one_multiplier;
};

class RowKernels : public testing::TestWithParam<at::ScalarType> {
 protected:
  RowKernels() { at::manual_seed(6); }

  at::Tensor compute(at::IntArrayRef shape) const { return at::randn(shape).to(GetParam()); }
  at::Tensor compute_empty(at::IntArrayRef shape) const {
    return at::empty(shape, at::TensorOptions(GetParam()));
  }
  static at::Tensor exact(const at::Tensor& x) {
    return x.to(at::kDouble).clone().set_requires_grad(true);
  }
  /// Random operands, and room for the results.
  ResidualNorm random_norm(const NormCase& c) const {
    const auto [rows, width, rows_per_group] = c.shape;
    const int64_t groups = c.shape.num_groups();
    ResidualNorm norm;
    norm.hidden = at::randn({rows, width});
    if (c.has_branch) norm.branch = compute({rows, width});
    if (c.has_gate) norm.gate = at::randn({groups, width});
    norm.multiplier = at::randn({c.one_multiplier ? 1 : groups, width});
    norm.shift = at::randn({c.one_multiplier ? 1 : groups, width});
    norm.sum = at::empty({rows, width});
    norm.normed = compute_empty({rows, width});
    norm.mean = at::empty({rows});
    norm.inverse_deviation = at::empty({rows});
    return norm;
  }
  ResidualNormGradient random_gradient(const NormCase& c, const ResidualNorm& norm) const {
    const auto [rows, width, rows_per_group] = c.shape;
    ResidualNormGradient gradient;
    gradient.d_sum_direct = at::randn({rows, width});
    gradient.d_normed = compute({rows, width});
    gradient.d_hidden = at::empty({rows, width});
    gradient.d_multiplier = at::empty_like(norm.multiplier);
    gradient.d_shift = at::empty_like(norm.shift);
    if (c.has_branch) {
      gradient.d_branch = compute_empty({rows, width});
      gradient.d_branch_sum = at::empty({1, width});
    }
    if (c.has_gate) gradient.d_gate = at::empty_like(norm.gate);
    return gradient;
  }
  double tolerance() const { return GetParam() == at::kBFloat16 ? 5e-3 : 5e-6; }
};

/// Rows of `groups` repeated for the rows that use them.
at::Tensor spread(const at::Tensor& groups, const RowShape& shape) {
  return groups.size(0) == 1 ? groups : groups.repeat_interleave(shape.rows_per_group, 0);
}

TEST_P(RowKernels, ResidualNormAndItsGradient) {
  const std::vector<NormCase> cases = {{{6, 33, 3}, true, true, false},
                                       {{70, 96, 70}, true, false, false},
                                       {{70, 96, 35}, true, true, true},
                                       {{8, 20, 1}, true, true, false},
                                       {{100, 50, 50}, false, false, false}};
  for (const NormCase& c : cases) {
    const ResidualNorm norm = random_norm(c);
    residual_norm(c.shape, norm, kEps);

    const at::Tensor hidden = exact(norm.hidden);
    const at::Tensor branch = c.has_branch ? exact(norm.branch) : at::Tensor();
    const at::Tensor gate = c.has_gate ? exact(norm.gate) : at::Tensor();
    const at::Tensor multiplier = exact(norm.multiplier);
    const at::Tensor shift = exact(norm.shift);
    at::Tensor sum = hidden;
    if (c.has_branch) sum = sum + (c.has_gate ? spread(gate, c.shape) * branch : branch);
    const at::Tensor normed =
        at::layer_norm(sum, {c.shape.width}, {}, {}, kEps) * spread(multiplier, c.shape) +
        spread(shift, c.shape);
    EXPECT_TENSOR_CLOSE(norm.normed, normed, tolerance());
    if (c.has_branch) {
      EXPECT_TENSOR_CLOSE(norm.sum, sum, 1e-6);
    }

    const ResidualNormGradient gradient = random_gradient(c, norm);
    residual_norm_backward(c.shape, norm, gradient);
    ((normed * gradient.d_normed.to(at::kDouble)).sum() +
     (sum * gradient.d_sum_direct.to(at::kDouble)).sum())
        .backward();
    EXPECT_TENSOR_CLOSE(gradient.d_hidden, hidden.grad(), 5e-6);
    EXPECT_TENSOR_CLOSE(gradient.d_multiplier, multiplier.grad(), 5e-6);
    EXPECT_TENSOR_CLOSE(gradient.d_shift, shift.grad(), 5e-6);
    if (c.has_branch) {
      EXPECT_TENSOR_CLOSE(gradient.d_branch, branch.grad(), tolerance());
      EXPECT_TENSOR_CLOSE(gradient.d_branch_sum, branch.grad().sum(0, true), 5e-6);
    }
    if (c.has_gate) {
      EXPECT_TENSOR_CLOSE(gradient.d_gate, gate.grad(), 5e-6);
    }
  }
}

TEST_P(RowKernels, GatedSumAndItsGradient) {
  const RowShape shape{60, 45, 20};
  const at::Tensor hidden = at::randn({60, 45});
  const at::Tensor branch = compute({60, 45});
  const at::Tensor gate = at::randn({3, 45});
  const at::Tensor branch_exact = exact(branch);
  const at::Tensor gate_exact = exact(gate);
  const at::Tensor expected = hidden.to(at::kDouble) + branch_exact * spread(gate_exact, shape);
  EXPECT_TENSOR_CLOSE(gated_sum(shape, hidden, branch, gate), expected, 1e-6);
  const at::Tensor d_sum = at::randn({60, 45});
  const GatedSumGradient gradient{compute_empty({60, 45}), at::empty({3, 45}), at::empty({1, 45})};
  gated_sum_backward(shape, d_sum, branch, gate, gradient);
  expected.backward(d_sum.to(at::kDouble));
  EXPECT_TENSOR_CLOSE(gradient.d_branch, branch_exact.grad(), tolerance());
  EXPECT_TENSOR_CLOSE(gradient.d_gate, gate_exact.grad(), 5e-6);
  EXPECT_TENSOR_CLOSE(gradient.d_branch_sum, branch_exact.grad().sum(0, true), 5e-6);
}

TEST_P(RowKernels, RmsRopeAndItsGradient) {
  for (const bool rotated : {false, true}) {
    const int64_t tokens = 35;
    const int64_t heads = 3;
    const int64_t head_dim = 14;
    const int64_t width = heads * head_dim;
    const at::Tensor wide = compute({2 * tokens, 2 * width});
    RmsRope norm;
    norm.x = wide.narrow(1, width, width);
    norm.weight = compute({width});
    const at::Tensor angles = at::randn({tokens, head_dim / 2});
    if (rotated) {
      norm.cos = angles.cos();
      norm.sin = angles.sin();
    }
    norm.out = compute_empty({2 * tokens, width});
    norm.inverse_rms = at::empty({2 * tokens});
    rms_rope(norm, kEps);

    const at::Tensor x = exact(norm.x);
    const at::Tensor weight = exact(norm.weight);
    at::Tensor expected = x * (x.square().mean(-1, true) + kEps).rsqrt() * weight;
    if (rotated) {
      const at::Tensor pairs = expected.view({2, tokens, heads, head_dim / 2, 2});
      const at::Tensor cos = angles.to(at::kDouble).cos().unsqueeze(1);
      const at::Tensor sin = angles.to(at::kDouble).sin().unsqueeze(1);
      const at::Tensor a = pairs.select(-1, 0);
      const at::Tensor b = pairs.select(-1, 1);
      expected = at::stack({a * cos - b * sin, a * sin + b * cos}, -1).view({2 * tokens, width});
    }
    EXPECT_TENSOR_CLOSE(norm.out, expected, tolerance());
    const at::Tensor d_out = compute({2 * tokens, width});
    expected.backward(d_out.to(at::kDouble));
    const at::Tensor d_x = d_out.clone();
    const RmsRopeGradient gradient{d_x, d_x, at::empty({1, width}), at::empty({1, width})};
    rms_rope_backward(norm, gradient);
    EXPECT_TENSOR_CLOSE(gradient.d_x, x.grad(), tolerance());
    EXPECT_TENSOR_CLOSE(gradient.d_weight.view({-1}), weight.grad(), 5e-6);
    EXPECT_TENSOR_CLOSE(gradient.d_x_sum, x.grad().sum(0, true), 1e-5);
  }
}

TEST_P(RowKernels, ColumnSumsAndAddSums) {
  const at::Tensor wide = compute({333, 90});
  const at::Tensor x = wide.narrow(1, 30, 40);
  EXPECT_TENSOR_CLOSE(column_sums(x), x.to(at::kDouble).sum(0, true), 5e-6);
  const at::Tensor target = compute({40});
  const at::Tensor sums = at::randn({1, 40});
  const at::Tensor expected = target.to(at::kDouble) + sums.to(at::kDouble).view({-1});
  add_sums(target, sums);
  EXPECT_TENSOR_CLOSE(target, expected, tolerance());
}

INSTANTIATE_TEST_SUITE_P(Types, RowKernels, testing::Values(at::kFloat, at::kBFloat16));

}  // namespace
}  // namespace zoetrope::kernels
