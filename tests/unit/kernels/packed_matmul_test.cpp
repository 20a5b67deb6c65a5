#include "zoetrope/kernels/packed_matmul.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "support/golden.h"

namespace zoetrope::kernels {
namespace {

struct Case {
  int64_t rows, columns, depth;
  bool a_transposed, b_transposed;
};

// Edges of tiles (14 x 32), of passes over k (448 units) and both choices of the operand that is
// packed whole.
const std::vector<Case> kCases = {
    {1, 1, 1, false, false},     {14, 32, 16, false, true},     {15, 33, 17, true, false},
    {65, 96, 96, false, true},   {300, 70, 1000, false, false}, {37, 45, 131, true, false},
    {500, 200, 901, true, true}, {20, 700, 450, true, false},
};

Matrix matrix_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr(), tensor.size(0), tensor.size(1), tensor.stride(0),
          tensor.stride(1)};
}

class PackedMatmul : public testing::TestWithParam<at::ScalarType> {
 protected:
  PackedMatmul() : element_(GetParam() == at::kBFloat16 ? Element::kBf16 : Element::kFp32) {
    at::manual_seed(3);
  }

  void SetUp() override {
    if (!has_packed_matmul(element_)) GTEST_SKIP() << "this processor lacks the packed kernel";
  }

  at::Tensor random(int64_t rows, int64_t columns, bool transposed = false) const {
    return transposed ? at::randn({columns, rows}).to(GetParam()).t()
                      : at::randn({rows, columns}).to(GetParam());
  }

  /// fp32 sums of exact products: both types differ from double only by summation order and by the
  /// last rounding.
  double tolerance() const { return element_ == Element::kBf16 ? 4e-3 : 2e-6; }

  TileOutput output_to(const at::Tensor& target) const {
    TileOutput output;
    output.target = target.mutable_data_ptr();
    output.element = target.scalar_type() == at::kBFloat16 ? Element::kBf16 : Element::kFp32;
    output.stride = target.stride(0);
    return output;
  }

  Element element_;
};

TEST_P(PackedMatmul, EqualsTheProductInDouble) {
  for (const Case& c : kCases) {
    const at::Tensor a = random(c.rows, c.depth, c.a_transposed);
    const at::Tensor b = random(c.depth, c.columns, c.b_transposed);
    at::Tensor out = at::full({c.rows, c.columns}, NAN, at::TensorOptions(GetParam()));
    packed_matmul(element_, matrix_of(a), matrix_of(b), output_to(out));
    EXPECT_TENSOR_CLOSE(out, at::mm(a.to(at::kDouble), b.to(at::kDouble)), tolerance())
        << c.rows << " x " << c.columns << " x " << c.depth;
  }
}

TEST_P(PackedMatmul, AccumulatesIntoTheTarget) {
  for (const Case& c : kCases) {
    const at::Tensor a = random(c.rows, c.depth, c.a_transposed);
    const at::Tensor b = random(c.depth, c.columns, c.b_transposed);
    const at::Tensor start = random(c.rows, c.columns);
    at::Tensor out = start.clone();
    TileOutput output = output_to(out);
    output.accumulate = true;
    packed_matmul(element_, matrix_of(a), matrix_of(b), output);
    EXPECT_TENSOR_CLOSE(out, start.to(at::kDouble) + at::mm(a.to(at::kDouble), b.to(at::kDouble)),
                        tolerance());
  }
}

TEST_P(PackedMatmul, AddsTheBiasAndAppliesGelu) {
  for (const Case& c : kCases) {
    const at::Tensor a =
        random(c.rows, c.depth, c.a_transposed) / std::sqrt(static_cast<double>(c.depth));
    const at::Tensor b = random(c.depth, c.columns, c.b_transposed);
    const at::Tensor bias = random(1, c.columns);
    at::Tensor before = at::empty({c.rows, c.columns}, at::TensorOptions(GetParam()));
    at::Tensor after = at::empty_like(before);
    TileOutput output = output_to(before);
    output.bias = bias.const_data_ptr();
    output.bias_element = element_;
    output.activation = Activation::kGelu;
    output.activation_buffer = after.mutable_data_ptr();
    packed_matmul(element_, matrix_of(a), matrix_of(b), output);
    const at::Tensor expected = at::mm(a.to(at::kDouble), b.to(at::kDouble)) + bias.to(at::kDouble);
    EXPECT_TENSOR_CLOSE(before, expected, tolerance());
    EXPECT_TENSOR_CLOSE(after, at::gelu(expected, "tanh"), tolerance());
  }
}

TEST_P(PackedMatmul, MultipliesByGelusDerivative) {
  for (const Case& c : kCases) {
    const at::Tensor a = random(c.rows, c.depth, c.a_transposed);
    const at::Tensor b = random(c.depth, c.columns, c.b_transposed);
    const at::Tensor before = random(c.rows, c.columns);
    at::Tensor out = at::empty({c.rows, c.columns}, at::TensorOptions(GetParam()));
    TileOutput output = output_to(out);
    output.activation = Activation::kGeluBackward;
    output.activation_buffer = before.mutable_data_ptr();
    packed_matmul(element_, matrix_of(a), matrix_of(b), output);
    const at::Tensor product = at::mm(a.to(at::kDouble), b.to(at::kDouble));
    EXPECT_TENSOR_CLOSE(out, at::gelu_backward(product, before.to(at::kDouble), "tanh"),
                        tolerance());
  }
}

TEST_P(PackedMatmul, GivesTheSameBitsForAnyNumberOfThreads) {
  const at::Tensor a = random(500, 901);
  const at::Tensor b = random(901, 700);
  std::vector<at::Tensor> results;
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    results.push_back(at::empty({500, 700}, at::TensorOptions(GetParam())));
    packed_matmul(element_, matrix_of(a), matrix_of(b), output_to(results.back()));
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(results[0], results[1]));
  EXPECT_TRUE(at::equal(results[0], results[2]));
}

INSTANTIATE_TEST_SUITE_P(Types, PackedMatmul, testing::Values(at::kFloat, at::kBFloat16));

}  // namespace
}  // namespace zoetrope::kernels
