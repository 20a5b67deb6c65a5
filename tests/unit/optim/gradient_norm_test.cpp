#include "zoetrope/optim/gradient_norm.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace zoetrope {
namespace {

const std::vector<ParameterGroupSpec> kSpecs = {{"blocks.0", {{"w", {700, 451}}, {"b", {3}}}},
                                                {"root", {{"r", {9}}}}};

class GradientNorm : public testing::TestWithParam<at::ScalarType> {
 protected:
  GradientNorm() : store_(kSpecs, {at::kCPU, GetParam(), true}) {
    at::manual_seed(5);
    for (const TensorSpec& spec : store_.specs())
      store_.at(spec.name).gradient.copy_(at::randn(spec.shape));
  }
  ParameterStore store_;
};

TEST_P(GradientNorm, EqualsTheNormInDouble) {
  double total = 0;
  std::vector<double> modules;
  for (const ParameterGroup& group : store_.groups()) {
    double sum = 0;
    for (const Parameter& parameter : group.parameters) {
      sum += parameter.gradient.to(at::kDouble).square().sum().item<double>();
    }
    modules.push_back(std::sqrt(sum));
    total += sum;
  }
  EXPECT_NEAR(global_gradient_norm(store_), std::sqrt(total), 1e-7 * std::sqrt(total));
  const auto norms = module_gradient_norms(store_);
  ASSERT_EQ(norms.size(), 2U);
  EXPECT_EQ(norms[0].first, "blocks.0");
  EXPECT_EQ(norms[1].first, "root");
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(norms[i].second, modules[i], 1e-7 * modules[i]);
}

TEST_P(GradientNorm, IsNotFiniteWhenAGradientIsNot) {
  store_.at("b").gradient[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(global_gradient_norm(store_)));
  store_.at("b").gradient[1] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isinf(global_gradient_norm(store_)));
}

INSTANTIATE_TEST_SUITE_P(Types, GradientNorm, testing::Values(at::kFloat, at::kBFloat16));

TEST(ClipCoefficient, ScalesDownOnly) {
  EXPECT_EQ(clip_coefficient(0.5, 1.0), 1.0);
  EXPECT_EQ(clip_coefficient(0.0, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(clip_coefficient(4.0, 1.0), 1.0 / (4.0 + 1e-6));
}

}  // namespace
}  // namespace zoetrope
