#include "zoetrope/optim/adamw.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

const std::vector<ParameterGroupSpec> kSpecs = {{"blocks.0", {{"w", {37, 5}}, {"b", {3}}}},
                                                {"root", {{"r", {70}}}}};
const AdamWOptions kOptions{0.9, 0.95, 0.1, 1e-8};

/// The update of the paper, in double, for one tensor.
class ReferenceAdamW {
 public:
  explicit ReferenceAdamW(const at::Tensor& start)
      : parameter(start.to(at::kDouble)),
        m_(at::zeros_like(parameter)),
        v_(at::zeros_like(parameter)) {}

  void step(const at::Tensor& gradient, double rate, double scale) {
    ++t_;
    const at::Tensor g = gradient.to(at::kDouble) * scale;
    m_ = kOptions.beta1 * m_ + (1 - kOptions.beta1) * g;
    v_ = kOptions.beta2 * v_ + (1 - kOptions.beta2) * g * g;
    const at::Tensor m_hat = m_ / (1 - std::pow(kOptions.beta1, t_));
    const at::Tensor v_hat = v_ / (1 - std::pow(kOptions.beta2, t_));
    parameter = parameter - rate * kOptions.weight_decay * parameter -
                rate * m_hat / (v_hat.sqrt() + kOptions.eps);
  }

  at::Tensor parameter;

 private:
  at::Tensor m_, v_;
  int t_ = 0;
};

at::Tensor random(at::IntArrayRef shape, int64_t seed) {
  at::manual_seed(static_cast<uint64_t>(seed));
  return at::randn(shape);
}

void fill(ParameterStore& store, int64_t seed) {
  for (const TensorSpec& spec : store.specs())
    store.load({{spec.name, random(spec.shape, seed++)}});
}

void set_gradients(ParameterStore& store, int64_t seed) {
  for (const TensorSpec& spec : store.specs())
    store.at(spec.name).gradient.copy_(random(spec.shape, seed++) * 0.01);
}

at::Tensor master(const ParameterStore& store, const std::string& wanted) {
  for (const auto& [name, tensor] : store.tensors()) {
    if (name == wanted) return tensor;
  }
  return {};
}

void expect_follows_reference(ParameterStore& store, double gradient_tolerance) {
  fill(store, 1);
  std::map<std::string, ReferenceAdamW> references;
  for (const auto& [name, tensor] : store.tensors())
    references.emplace(name, ReferenceAdamW(tensor));
  AdamW optimizer(store, kOptions);
  for (int64_t step = 0; step < 5; ++step) {
    set_gradients(store, 100 * (step + 1));
    const double rate = 1e-2 / static_cast<double>(step + 1);
    const double scale = step == 2 ? 0.25 : 1.0;
    for (auto& [name, reference] : references) reference.step(store.at(name).gradient, rate, scale);
    optimizer.step(rate, scale);
    for (auto& [name, reference] : references) {
      EXPECT_TENSOR_CLOSE(master(store, name), reference.parameter, gradient_tolerance)
          << name << " step " << step;
    }
  }
}

TEST(AdamW, FollowsTheFormulaInDouble) {
  ParameterStore store(kSpecs, {at::kCPU, at::kFloat, true});
  expect_follows_reference(store, 1e-6);
}

TEST(AdamW, KeepsFp32MastersAndWritesTheBf16Values) {
  ParameterStore store(kSpecs, {at::kCPU, at::kBFloat16, true});
  expect_follows_reference(store, 1e-6);
  for (const ParameterGroup& group : store.groups()) {
    EXPECT_TRUE(at::equal(group.flat_value, group.flat_master.to(at::kBFloat16)));
  }
}

TEST(AdamW, AgreesWithPyTorchsFusedKernel) {
  ParameterStore store(kSpecs, {at::kCPU, at::kFloat, true});
  fill(store, 7);
  at::Tensor theirs = master(store, "w").clone();
  at::Tensor exp_avg = at::zeros_like(theirs);
  at::Tensor exp_avg_sq = at::zeros_like(theirs);
  AdamW optimizer(store, kOptions);
  for (int64_t step = 1; step <= 3; ++step) {
    set_gradients(store, 10 * step);
    std::vector<at::Tensor> parameters{theirs};
    std::vector<at::Tensor> gradients{store.at("w").gradient.clone()};
    std::vector<at::Tensor> first{exp_avg};
    std::vector<at::Tensor> second{exp_avg_sq};
    std::vector<at::Tensor> none;
    std::vector<at::Tensor> steps{at::scalar_tensor(step, at::kFloat)};
    at::_fused_adamw_(parameters, gradients, first, second, none, steps, 1e-2, kOptions.beta1,
                      kOptions.beta2, kOptions.weight_decay, kOptions.eps, false, false);
    optimizer.step(1e-2);
    EXPECT_TENSOR_CLOSE(master(store, "w"), theirs, 1e-6);
  }
}

TEST(AdamW, ContinuesFromItsStateBitForBit) {
  ParameterStore whole(kSpecs, {at::kCPU, at::kFloat, true});
  fill(whole, 3);
  AdamW optimizer(whole, kOptions);
  for (int64_t step = 0; step < 3; ++step) {
    set_gradients(whole, 50 * step);
    optimizer.step(1e-3);
  }
  ParameterStore resumed(kSpecs, {at::kCPU, at::kFloat, true});
  resumed.load(whole.tensors());
  AdamW second(resumed, kOptions);
  copy_shards(optimizer.moments(), second.moments());
  second.set_num_steps(optimizer.num_steps());
  EXPECT_EQ(second.num_steps(), 3);
  for (int64_t step = 3; step < 6; ++step) {
    set_gradients(whole, 50 * step);
    set_gradients(resumed, 50 * step);
    optimizer.step(1e-3);
    second.step(1e-3);
  }
  for (const auto& [name, tensor] : whole.tensors())
    EXPECT_TRUE(at::equal(tensor, master(resumed, name))) << name;
}

TEST(AdamW, RefusesFrozenParameters) {
  ParameterStore frozen(kSpecs, {at::kCPU, at::kFloat, false});
  EXPECT_THROW(AdamW(frozen, kOptions), Error);
}

}  // namespace
}  // namespace zoetrope
