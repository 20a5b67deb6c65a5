#include "zoetrope/kernels/packed_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "zoetrope/kernels/packed_matmul.h"

namespace zoetrope::kernels {
namespace {

const std::vector<AttentionShape> kShapes = {
    {1, 1, 1, 1, 2}, {2, 3, 65, 37, 24}, {1, 2, 200, 513, 12}, {1, 1, 397, 950, 64}};

class PackedAttention : public testing::TestWithParam<at::ScalarType> {
 protected:
  PackedAttention() : element_(GetParam() == at::kBFloat16 ? Element::kBf16 : Element::kFp32) {
    at::manual_seed(4);
  }
  void SetUp() override {
    if (!has_packed_matmul(element_)) GTEST_SKIP() << "this processor lacks the packed kernel";
  }
  double tolerance() const { return element_ == Element::kBf16 ? 1e-2 : 5e-6; }

  Element element_;
};

HeadTokens tokens(const at::Tensor& tensor) {
  return {tensor.mutable_data_ptr(), tensor.stride(1)};
}

at::Tensor heads_of(const at::Tensor& tensor, const AttentionShape& shape) {
  return tensor.unflatten(-1, {shape.heads, shape.head_dim}).transpose(1, 2);
}

TEST_P(PackedAttention, OutputAndGradientsEqualThoseInDouble) {
  for (const AttentionShape& shape : kShapes) {
    SCOPED_TRACE(testing::Message()
                 << shape.num_queries << " queries, " << shape.num_keys << " keys");
    const int64_t width = shape.heads * shape.head_dim;
    const auto options = at::TensorOptions(GetParam());
    const at::Tensor q = at::randn({shape.batch, shape.num_queries, width}).to(GetParam());
    // Keys and values as slices of wider rows, as the merged projection leaves them.
    const at::Tensor key_values =
        at::randn({shape.batch, shape.num_keys, 2 * width}).to(GetParam());
    const at::Tensor k = key_values.narrow(2, 0, width);
    const at::Tensor v = key_values.narrow(2, width, width);
    const at::Tensor d_out = at::randn({shape.batch, shape.num_queries, width}).to(GetParam());
    const at::Tensor out = at::empty(q.sizes(), options);
    const at::Tensor d_q = at::empty(q.sizes(), options);
    const at::Tensor d_key_values = at::empty(key_values.sizes(), options);
    const at::Tensor log_sums = at::empty({shape.batch, shape.heads, shape.num_queries});
    const AttentionOperands operands{tokens(q), tokens(k), tokens(v), tokens(out),
                                     log_sums.mutable_data_ptr<float>()};
    packed_attention(element_, shape, operands);
    packed_attention_backward(element_, shape, operands,
                              {tokens(d_out), tokens(d_q), tokens(d_key_values),
                               tokens(d_key_values.narrow(2, width, width))});

    const auto leaf = [](const at::Tensor& x) {
      return x.to(at::kDouble).clone().set_requires_grad(true);
    };
    const at::Tensor q_exact = leaf(q);
    const at::Tensor k_exact = leaf(k);
    const at::Tensor v_exact = leaf(v);
    const at::Tensor scores =
        at::matmul(heads_of(q_exact, shape), heads_of(k_exact, shape).transpose(-1, -2)) /
        std::sqrt(static_cast<double>(shape.head_dim));
    const at::Tensor expected =
        at::matmul(at::softmax(scores, -1), heads_of(v_exact, shape)).transpose(1, 2).flatten(2);
    expected.backward(d_out.to(at::kDouble));
    EXPECT_TENSOR_CLOSE(out, expected, tolerance());
    EXPECT_TENSOR_CLOSE(log_sums, at::logsumexp(scores, -1), tolerance());
    EXPECT_TENSOR_CLOSE(d_key_values.narrow(2, width, width), v_exact.grad(), tolerance());
    if (shape.num_keys == 1) continue;  // softmax over one key: the other gradients are zero
    EXPECT_TENSOR_CLOSE(d_q, q_exact.grad(), tolerance());
    EXPECT_TENSOR_CLOSE(d_key_values.narrow(2, 0, width), k_exact.grad(), tolerance());
  }
}

TEST_P(PackedAttention, LastKeyStandsForSeveral) {
  const AttentionShape repeated{1, 2, 33, 20, 16};
  AttentionShape counted{1, 2, 33, 9, 16};
  counted.last_key_count = 12;
  const auto options = at::TensorOptions(GetParam());
  const at::Tensor q = at::randn({1, 33, 32}).to(GetParam());
  const at::Tensor d_out = at::randn({1, 33, 32}).to(GetParam());
  const at::Tensor few_keys = at::randn({1, 9, 32}).to(GetParam());
  const at::Tensor few_values = at::randn({1, 9, 32}).to(GetParam());
  std::vector<std::array<at::Tensor, 4>> results;
  for (const AttentionShape& shape : {repeated, counted}) {
    const auto extend = [&](const at::Tensor& x) {
      return at::cat({x, x.narrow(1, 8, 1).expand({1, shape.num_keys - 9, 32})}, 1).contiguous();
    };
    const at::Tensor k = extend(few_keys);
    const at::Tensor v = extend(few_values);
    const at::Tensor out = at::empty(q.sizes(), options);
    const at::Tensor d_q = at::empty(q.sizes(), options);
    const at::Tensor d_k = at::empty(k.sizes(), options);
    const at::Tensor d_v = at::empty(v.sizes(), options);
    const at::Tensor log_sums = at::empty({1, 2, 33});
    const AttentionOperands operands{tokens(q), tokens(k), tokens(v), tokens(out),
                                     log_sums.mutable_data_ptr<float>()};
    packed_attention(element_, shape, operands);
    packed_attention_backward(element_, shape, operands,
                              {tokens(d_out), tokens(d_q), tokens(d_k), tokens(d_v)});
    const auto fold = [](const at::Tensor& x) {
      const at::Tensor exact = x.to(at::kDouble);
      return at::cat({exact.narrow(1, 0, 8), exact.narrow(1, 8, x.size(1) - 8).sum(1, true)}, 1);
    };
    results.push_back({out, d_q, fold(d_k), fold(d_v)});
  }
  for (size_t i = 0; i < 4; ++i)
    EXPECT_TENSOR_CLOSE(results[1][i], results[0][i], 2 * tolerance()) << i;  // both round
}

INSTANTIATE_TEST_SUITE_P(Types, PackedAttention, testing::Values(at::kFloat, at::kBFloat16));

}  // namespace
}  // namespace zoetrope::kernels
