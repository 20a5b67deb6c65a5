#include "golden/training/trace_checker.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace zoetrope::test {
namespace {

using nlohmann::json;

constexpr double kLossTolerance = 2e-5;
constexpr double kNormTolerance = 1e-4;
// A parameter whose gradient is rounding noise (cross attention's queries and keys when all text of
// a step was dropped) is moved by AdamW in a direction that only the order of summation decides.
// Its own gradients are not compared from then on. The plain implementation sums like the reference
// and keeps all other tolerances but that of single norms; the fused one, whose noise is as large
// but another, is from then on compared within the second row (docs/numerics.md).
struct ToleranceAfterNoise {
  double norm;
  double parameter;
  double loss;
  double forward;
};
constexpr ToleranceAfterNoise kPlainAfterNoise = {1e-3, 1e-5, 2e-5, 2e-4};
constexpr ToleranceAfterNoise kFusedAfterNoise = {5e-2, 1e-3, 5e-4, 2e-3};
constexpr double kGradientTolerance = 1e-4;
constexpr double kParameterTolerance = 1e-5;
constexpr double kForwardTolerance = 1e-5;  ///< times the step
// The same of single elements: below this share of a tensor's largest gradient, rounding decides an
// element's, and AdamW's first update makes it as large as any other.
constexpr double kNoiseElementShare = 3e-7;
constexpr double kVelocityAfterNoiseElements = 5e-5;
// What the fused blocks were not yet measured in is compared this much more loosely.
constexpr double kFusedShare = 10.0;
// Below this share of the total norm, a gradient is rounding noise.
constexpr double kNoiseNormShare = 1e-6;

double relative_l2(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor difference = actual.to(at::kDouble) - expected.to(at::kDouble);
  return (difference.norm() / expected.to(at::kDouble).norm().clamp_min(1e-30)).item<double>();
}

const ToleranceAfterNoise& after_noise(Implementation implementation) {
  return implementation == Implementation::kPlain ? kPlainAfterNoise : kFusedAfterNoise;
}

double unmeasured_share(Implementation implementation) {
  return implementation == Implementation::kPlain ? 1.0 : kFusedShare;
}

bool has_noise_elements(const at::Tensor& gradient) {
  const at::Tensor size = gradient.abs();
  return size.gt(0).logical_and(size.lt(kNoiseElementShare * size.max())).any().item<bool>();
}

/// What the cached keys of a game network's cross attention are made of.
bool makes_cross_attention_keys(const ParameterStore& parameters, const std::string& name) {
  if (parameters.contains("condition_embedder.text_embedder.linear_1.weight")) return false;
  const std::vector<std::string> parts = {".attn2.to_k.", ".attn2.to_v.", ".attn2.norm_k.",
                                          "condition_embedder.image_embedder."};
  return std::any_of(parts.begin(), parts.end(),
                     [&](const std::string& part) { return name.find(part) != std::string::npos; });
}

/// The reference gives no gradient to parameters of a streamed game network that ours trains, since
/// its cached keys are constants. Takes their gradients away, so that all else stays comparable;
/// any other gradient that was recorded as nothing must be nothing here. The norm of what was
/// recorded; nothing when that is all.
std::optional<double> leave_out_untrained(const ParameterStore& parameters, const json& recorded,
                                          double total) {
  double squared = 0;
  bool all_recorded = true;
  for (const TensorSpec& spec : parameters.specs()) {
    at::Tensor gradient = parameters.at(spec.name).gradient;
    if (recorded.value(spec.name, 0.0) > 0.0) {
      squared += gradient.to(at::kDouble).square().sum().item<double>();
      continue;
    }
    if (!makes_cross_attention_keys(parameters, spec.name)) {
      EXPECT_LT(gradient.norm().item<double>(), kNoiseNormShare * total) << spec.name;
      continue;
    }
    gradient.zero_();
    all_recorded = false;
  }
  return all_recorded ? std::nullopt : std::optional(std::sqrt(squared));
}

/// What a recorded event is called among the method's intermediate results; empty when it is none.
std::string intermediate_name(const json& event) {
  if (event["kind"] == "dmd_grad") return "dmd_gradient";
  if (event["kind"] != "_student_rollout") return "";
  return event["with_grad"] ? "generated_latents" : "critic_latents";
}

}  // namespace

double TraceChecker::loss_tolerance() const {
  return noise_parameters_.empty() ? kLossTolerance : after_noise(implementation_).loss;
}

double TraceChecker::parameter_tolerance() const {
  return noise_parameters_.empty() ? kParameterTolerance : after_noise(implementation_).parameter;
}

double TraceChecker::forward_tolerance(int64_t step) const {
  const double tolerance =
      unmeasured_share(implementation_) * kForwardTolerance * static_cast<double>(step);
  return noise_parameters_.empty() ? tolerance
                                   : std::max(tolerance, after_noise(implementation_).forward);
}

double TraceChecker::velocity_tolerance(int64_t step) const {
  const double tolerance = forward_tolerance(step);
  return has_noise_elements_ ? std::max(tolerance, kVelocityAfterNoiseElements) : tolerance;
}

void TraceChecker::on_before_optimizer_step(RunState& run, std::vector<OptimizerUpdate>& updates) {
  if (!exact_) return;
  const json& recorded = golden_.step(run.step)["grads_before_clip"];
  ASSERT_EQ(updates.size(), recorded.size()) << "step " << run.step;
  for (OptimizerUpdate& update : updates) check_gradients(run, update);
  check_intermediates(run);
}

void TraceChecker::check_gradients(RunState& run, OptimizerUpdate& update) {
  const std::string& role = update.optimizer->role();
  const json& recorded = golden_.step(run.step)["grads_before_clip"][role];
  const double total = recorded["total_norm_fp64"];
  const double tolerance =
      noise_parameters_.empty() ? kNormTolerance : after_noise(implementation_).norm;
  const ParameterStore& parameters = update.optimizer->model().parameters();
  const double norm_of_trained =
      leave_out_untrained(parameters, recorded["norms"], total).value_or(update.gradient_norm);
  EXPECT_NEAR(norm_of_trained, total, tolerance * total) << "step " << run.step << " " << role;
  for (const auto& [name, norm] : recorded["norms"].items()) {
    const std::string full_name = role + "." + name;
    if (norm.get<double>() == 0.0) continue;
    if (norm.get<double>() < kNoiseNormShare * total) noise_parameters_.insert(full_name);
    if (noise_parameters_.contains(full_name)) continue;
    const at::Tensor& gradient = parameters.at(name).gradient;
    if (update.optimizer->num_updates() == 0 && has_noise_elements(gradient))
      has_noise_elements_ = true;
    EXPECT_NEAR(gradient.to(at::kDouble).norm().item<double>(), norm.get<double>(),
                tolerance * norm.get<double>())
        << "step " << run.step << " " << full_name;
    const std::string key = fmt::format("s{}.grad.{}", run.step, full_name);
    if (golden_.contains(key)) {
      EXPECT_TENSOR_CLOSE(gradient, golden_.tensor(key), kGradientTolerance) << key;
    }
  }
}

void TraceChecker::check_intermediates(const RunState& run) {
  const std::map<std::string, at::Tensor> given(run.tensors.begin(), run.tensors.end());
  for (const json& event : golden_.step(run.step)["events"]) {
    const std::string name = intermediate_name(event);
    if (name.empty()) continue;
    ASSERT_TRUE(given.contains(name)) << "step " << run.step << " has no " << name;
    const double tolerance = name == "dmd_gradient"
                                 ? forward_tolerance(run.step)
                                 : kForwardTolerance * static_cast<double>(run.step);
    EXPECT_TENSOR_CLOSE(given.at(name), golden_.tensor(event["key"]), tolerance)
        << "step " << run.step << " " << name;
    ++num_compared_;
  }
}

void TraceChecker::on_training_step_end(RunState& run) {
  if (!exact_) return;
  for (RoleOptimizer* optimizer : run.method.role_optimizers()) check_role(run, *optimizer);
  check_averaged_role(run);
  const bool averaged = golden_.step(run.step).value("ema_started", false);
  EXPECT_EQ(run.average != nullptr, averaged) << "step " << run.step;
  if (averaged)
    check_weights(fmt::format("s{}.ema.", run.step), run.average->tensors(), "student", run.step);
}

void TraceChecker::check_role(RunState& run, RoleOptimizer& optimizer) {
  const std::string& role = optimizer.role();
  const double learning_rate = golden_.step(run.step)["lr_used"][role][0];
  largest_learning_rate_ = std::max(largest_learning_rate_, learning_rate);
  const NamedTensors weights = optimizer.model().parameters().tensors();
  check_weights(fmt::format("s{}.param.{}.", run.step, role), weights, role, run.step);
  check_sums(weights, golden_.step(run.step)["params_after"][role], role, run.step);
  if (run.step == golden_.json()["steps"].back()["step"])
    check_weights(fmt::format("final.{}.", role), weights, role, run.step);
}

void TraceChecker::check_weights(const std::string& prefix, const NamedTensors& tensors,
                                 const std::string& role, int64_t step) {
  for (const auto& [name, tensor] : tensors) {
    if (!golden_.contains(prefix + name)) continue;
    ++num_compared_;
    const at::Tensor expected = golden_.tensor(prefix + name);
    if (noise_parameters_.contains(role + "." + name)) {
      const double limit = 1.5 * largest_learning_rate_ * static_cast<double>(step);
      EXPECT_LE((tensor - expected).abs().max().item<double>(), limit) << prefix << name;
    } else {
      EXPECT_LE(relative_l2(tensor, expected), parameter_tolerance()) << prefix << name;
    }
  }
}

void TraceChecker::check_averaged_role(const RunState& run) {
  const json& step = golden_.step(run.step);
  if (!step.contains("ema_role_after")) return;
  const auto averaged = run.method.averaged_roles();
  ASSERT_EQ(averaged.size(), 1U);
  const std::string& role = averaged.front().first;
  ModelBase& model = run.method.roles().require(role, /*trainable=*/false, "the replay");
  json recorded;
  for (const auto& [name, sums] : step["ema_role_after"].items())
    recorded[golden_.json()["param_name_map"]["student"].value(name, name)] = sums;
  check_sums(model.parameters().tensors(), recorded, role, run.step);
}

// Recorded for every parameter, also where the tensor is not.
void TraceChecker::check_sums(const NamedTensors& weights, const json& recorded,
                              const std::string& role, int64_t step) {
  for (const auto& [name, tensor] : weights) {
    if (noise_parameters_.contains(role + "." + name)) continue;
    ASSERT_TRUE(recorded.contains(name)) << role << "." << name;
    const at::Tensor values = tensor.to(at::kDouble);
    const double expected_square = recorded[name]["sq"];
    // How far the tolerance of the tensor lets its sums be.
    const double distance = parameter_tolerance() * std::sqrt(expected_square);
    const double linear = unmeasured_share(implementation_) *
                          std::sqrt(static_cast<double>(tensor.numel())) * distance;
    const std::string where = fmt::format("step {} {}.{}", step, role, name);
    EXPECT_NEAR(values.square().sum().item<double>(), expected_square,
                2.0 * distance * std::sqrt(expected_square))
        << where;
    EXPECT_NEAR(values.sum().item<double>(), recorded[name]["sum"].get<double>(), linear) << where;
    EXPECT_NEAR(values.abs().sum().item<double>(), recorded[name]["abssum"].get<double>(), linear)
        << where;
    ++num_compared_;
  }
}

}  // namespace zoetrope::test
