#include "zoetrope/optim/adamw.h"

#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/kernels/flat_updates.h"

namespace zoetrope {
namespace {

/// The twin of kernels::adamw_update in ATen operations, for devices without it.
void adamw_update_plain(const kernels::AdamWBuffers& buffers, const kernels::AdamWScalars& s) {
  const at::Tensor gradient = buffers.gradient.to(at::kFloat) * s.gradient_scale;
  at::Tensor exp_avg = buffers.exp_avg;
  at::Tensor exp_avg_sq = buffers.exp_avg_sq;
  at::Tensor master = buffers.master;
  exp_avg.lerp_(gradient, 1.0F - s.beta1);
  exp_avg_sq.mul_(s.beta2).addcmul_(gradient, gradient, 1.0F - s.beta2);
  const at::Tensor denominator = exp_avg_sq.sqrt().mul_(s.inverse_sqrt_bias2).add_(s.eps);
  master.mul_(s.decay).addcdiv_(exp_avg, denominator, -s.step_size);
  if (!buffers.value.is_alias_of(master)) buffers.value.detach().copy_(master);
}

}  // namespace

AdamW::AdamW(ParameterStore& parameters, const AdamWOptions& options)
    : parameters_(parameters), options_(options) {
  if (!parameters.trainable() || parameters.groups().empty()) {
    fail("AdamW: must be given trainable parameters, but got {}",
         parameters.groups().empty() ? "none" : "a frozen network");
  }
  for (const ParameterGroup& group : parameters.groups()) {
    moments_.push_back({at::zeros_like(group.flat_master), at::zeros_like(group.flat_master)});
  }
}

void AdamW::step(double learning_rate, double gradient_scale) {
  at::NoGradGuard no_grad;
  ++num_steps_;
  const auto t = static_cast<double>(num_steps_);
  const kernels::AdamWScalars scalars{
      static_cast<float>(gradient_scale),
      static_cast<float>(1.0 - learning_rate * options_.weight_decay),
      static_cast<float>(options_.beta1),
      static_cast<float>(options_.beta2),
      static_cast<float>(learning_rate / (1.0 - std::pow(options_.beta1, t))),
      static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(options_.beta2, t))),
      static_cast<float>(options_.eps),
  };
  for (size_t i = 0; i < moments_.size(); ++i) {
    const ParameterGroup& group = parameters_.groups()[i];
    const kernels::AdamWBuffers buffers{group.flat_master, moments_[i].exp_avg,
                                        moments_[i].exp_avg_sq, group.flat_gradient,
                                        group.flat_value};
    if (group.flat_master.is_cpu()) {
      kernels::adamw_update(buffers, scalars);
    } else {
      adamw_update_plain(buffers, scalars);
    }
  }
}

TensorShards AdamW::moments() const {
  TensorShards shards;
  const auto add = [&](const char* suffix, at::Tensor Moments::*moment) {
    std::vector<at::Tensor> flat;
    for (const Moments& group : moments_) flat.push_back(group.*moment);
    for (TensorShard& shard : parameters_.shards_of(flat)) {
      shard.name += suffix;
      shards.push_back(std::move(shard));
    }
  };
  add(".exp_avg", &Moments::exp_avg);
  add(".exp_avg_sq", &Moments::exp_avg_sq);
  return shards;
}

}  // namespace zoetrope
