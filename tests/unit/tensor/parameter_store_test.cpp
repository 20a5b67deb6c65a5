#include "zoetrope/tensor/parameter_store.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

const std::vector<ParameterGroupSpec> kSpecs = {{"blocks.0", {{"w", {3, 5}}, {"b", {3}}}},
                                                {"root", {{"r", {2}}}}};

TEST(ParameterStore, ParametersAreAlignedViewsOfFlatBuffers) {
  ParameterStore store(kSpecs, {at::kCPU, at::kFloat, true});
  for (const ParameterGroup& group : store.groups()) {
    for (const Parameter& parameter : group.parameters) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(parameter.value.const_data_ptr()) % 64, 0U)
          << parameter.name;
      EXPECT_TRUE(parameter.value.is_alias_of(group.flat_value));
      EXPECT_TRUE(parameter.gradient.is_alias_of(group.flat_gradient));
      EXPECT_TRUE(parameter.value.is_leaf());
    }
  }
  EXPECT_EQ(store.num_parameters(), 15 + 3 + 2);
  EXPECT_THROW(store.at("none"), Error);
}

TEST(ParameterStore, BackwardAccumulatesIntoTheFlatGradient) {
  ParameterStore store(kSpecs, {at::kCPU, at::kFloat, true});
  (store.value("w").sum() * 2).backward();
  store.value("w").sum().backward();
  EXPECT_TRUE(at::equal(store.at("w").gradient, at::full({3, 5}, 3.0F)));
  EXPECT_EQ(store.groups()[0].flat_gradient.sum().item<double>(), 45.0);
  store.zero_gradients();
  EXPECT_EQ(store.groups()[0].flat_gradient.abs().sum().item<double>(), 0.0);
}

TEST(ParameterStore, Bf16ValuesFollowTheFp32Masters) {
  ParameterStore store(kSpecs, {at::kCPU, at::kBFloat16, true});
  const at::Tensor weights = at::linspace(0, 1, 15).reshape({3, 5});
  store.load({{"w", weights}});
  EXPECT_TRUE(at::equal(store.tensors()[0].second, weights));
  EXPECT_TRUE(at::equal(store.value("w").detach(), weights.to(at::kBFloat16)));
  EXPECT_EQ(store.at("w").gradient.scalar_type(), at::kBFloat16);
}

TEST(ParameterStore, FrozenNetworksHaveNeitherMastersNorGradients) {
  ParameterStore store(kSpecs, {at::kCPU, at::kBFloat16, false});
  EXPECT_FALSE(store.groups()[0].flat_master.defined());
  EXPECT_FALSE(store.at("w").gradient.defined());
  EXPECT_FALSE(store.value("w").requires_grad());
  store.load({{"b", at::ones({3})}});
  EXPECT_EQ(store.value("b").sum().item<double>(), 3.0);
}

TEST(ParameterStore, RefusesWrongShapesAndNamesDeclaredTwice) {
  ParameterStore store(kSpecs, {at::kCPU, at::kFloat, true});
  EXPECT_THROW(store.load({{"w", at::zeros({5, 3})}}), CheckpointError);
  EXPECT_THROW(ParameterStore({{"a", {{"w", {1}}}}, {"b", {{"w", {1}}}}}, {}), Error);
}

}  // namespace
}  // namespace zoetrope
