#include "zoetrope/optim/exponential_moving_average.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

const std::vector<ParameterGroupSpec> kSpecs = {{"blocks.0", {{"w", {31, 7}}}},
                                                {"root", {{"r", {5}}}}};

void fill(ParameterStore& store, uint64_t seed) {
  at::manual_seed(seed);
  for (const TensorSpec& spec : store.specs()) store.load({{spec.name, at::randn(spec.shape)}});
}

at::Tensor find(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return tensor;
  }
  return {};
}

class Average : public testing::TestWithParam<at::ScalarType> {
 protected:
  Average() : store_(kSpecs, {at::kCPU, GetParam(), true}) { fill(store_, 1); }
  ParameterStore store_;
};

TEST_P(Average, FollowsTheRecursionInDouble) {
  ExponentialMovingAverage average(store_, 0.9);
  at::Tensor expected = find(store_.tensors(), "w").to(at::kDouble);
  for (uint64_t step = 2; step < 6; ++step) {
    fill(store_, step);
    average.update();
    expected = 0.9 * expected + 0.1 * find(store_.tensors(), "w").to(at::kDouble);
    EXPECT_TENSOR_CLOSE(find(average.tensors(), "w"), expected, 1e-6);
  }
}

TEST_P(Average, SwapsInAndOutBitForBit) {
  ExponentialMovingAverage average(store_, 0.5);
  const at::Tensor averaged = find(average.tensors(), "r").clone();
  fill(store_, 9);
  const at::Tensor live = find(store_.tensors(), "r").clone();
  average.swap();
  EXPECT_TRUE(at::equal(find(store_.tensors(), "r"), averaged));
  EXPECT_TRUE(at::equal(store_.value("r").detach(), averaged.to(GetParam())));
  average.swap();
  EXPECT_TRUE(at::equal(find(store_.tensors(), "r"), live));
  EXPECT_TRUE(at::equal(store_.value("r").detach(), live.to(GetParam())));
  EXPECT_TRUE(at::equal(find(average.tensors(), "r"), averaged));
}

TEST_P(Average, ContinuesFromItsState) {
  ExponentialMovingAverage whole(store_, 0.9);
  fill(store_, 2);
  whole.update();
  ExponentialMovingAverage resumed(store_, 0.9);
  copy_shards(whole.shards(), resumed.shards());
  fill(store_, 3);
  whole.update();
  resumed.update();
  EXPECT_TRUE(at::equal(find(whole.tensors(), "w"), find(resumed.tensors(), "w")));
}

INSTANTIATE_TEST_SUITE_P(Types, Average, testing::Values(at::kFloat, at::kBFloat16));

TEST(ExponentialMovingAverage, RefusesAFrozenNetwork) {
  ParameterStore frozen(kSpecs, {at::kCPU, at::kFloat, false});
  EXPECT_THROW(ExponentialMovingAverage(frozen, 0.9), Error);
}

}  // namespace
}  // namespace zoetrope
