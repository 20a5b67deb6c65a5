#include "zoetrope/tensor/random_source.h"

#include <set>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

TEST(KeyedRandomSource, RowsDependOnTheirSampleAlone) {
  KeyedRandomSource random(7);
  const at::Tensor together = random.normal({"noise", {3, 11, 4}}, {3, 2, 5});
  const at::Tensor alone = random.normal({"noise", {11}}, {1, 2, 5});
  EXPECT_TRUE(at::equal(together[1], alone[0]));
  EXPECT_FALSE(at::equal(together[0], together[1]));
  EXPECT_TRUE(at::equal(KeyedRandomSource(7).normal({"noise", {3, 11, 4}}, {3, 2, 5}), together));
}

TEST(KeyedRandomSource, SeedPurposeAndIndexEachChangeTheDraw) {
  std::set<uint64_t> seeds;
  for (const char* purpose : {"noise", "timestep", "noisf"}) {
    for (int64_t seed = 0; seed < 20; ++seed) {
      for (int64_t index = 0; index < 50; ++index) seeds.insert(draw_seed(seed, purpose, index));
    }
  }
  EXPECT_EQ(seeds.size(), 3U * 20U * 50U);
}

TEST(KeyedRandomSource, HasTheRightMoments) {
  KeyedRandomSource random(1);
  std::vector<int64_t> samples(400);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int64_t>(i);
  const at::Tensor normal = random.normal({"noise", samples}, {400, 100});
  // Standard error of the mean is 1 / 200, of the variance sqrt(2) / 200.
  EXPECT_NEAR(normal.mean().item<double>(), 0.0, 0.025);
  EXPECT_NEAR(normal.var().item<double>(), 1.0, 0.035);
  const at::Tensor uniform = random.uniform({"timestep", samples}, {400, 100});
  EXPECT_NEAR(uniform.mean().item<double>(), 0.5, 0.0075);
  EXPECT_GE(uniform.min().item<double>(), 0.0);
  EXPECT_LT(uniform.max().item<double>(), 1.0);
  const at::Tensor integers = random.integers({"step", {}, 5}, 2, 6, {4000});
  EXPECT_EQ(integers.min().item<int64_t>(), 2);
  EXPECT_EQ(integers.max().item<int64_t>(), 5);
}

TEST(KeyedRandomSource, RefusesAnotherNumberOfRows) {
  KeyedRandomSource random(1);
  EXPECT_THROW(random.normal({"noise", {1, 2}}, {3, 4}), Error);
}

}  // namespace
}  // namespace zoetrope
