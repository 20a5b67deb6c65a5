#include "zoetrope/diffusion/samplers/unipc.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

struct Phi {
  double phi_1;                 ///< expm1(-h)
  double b_of_h;                ///< B(h)
  std::vector<double> targets;  ///< right-hand side for orders 1..order
};

Phi make_phi(double h, int64_t order, UniPcSolver solver) {
  const double hh = -h;
  Phi phi{.phi_1 = std::expm1(hh), .b_of_h = 0.0, .targets = {}};
  phi.b_of_h = solver == UniPcSolver::kBh1 ? hh : phi.phi_1;
  double h_phi_k = phi.phi_1 / hh - 1.0;
  double factorial = 1.0;
  for (int64_t k = 1; k <= order; ++k) {
    phi.targets.push_back(h_phi_k * factorial / phi.b_of_h);
    factorial *= static_cast<double>(k + 1);
    h_phi_k = h_phi_k / hh - 1.0 / factorial;
  }
  return phi;
}

// Weights w with sum_j ratios[j]^k w[j] = targets[k] for k = 0 .. ratios.size() - 1.
std::vector<double> solve_powers(const std::vector<double>& ratios,
                                 const std::vector<double>& targets) {
  const auto size = static_cast<int64_t>(ratios.size());
  const at::Tensor powers = at::linalg_vander(at::tensor(ratios, at::kDouble), size).t();
  const std::vector<double> wanted(targets.begin(), targets.begin() + size);
  const at::Tensor solution =
      at::linalg_solve(powers, at::tensor(wanted, at::kDouble)).contiguous();
  return {solution.const_data_ptr<double>(), solution.const_data_ptr<double>() + size};
}

}  // namespace

UniPc::UniPc(SamplingSchedule schedule, UniPcOptions options)
    : Sampler(std::move(schedule)), options_(options) {
  if (options_.order < 1 || options_.order > 3) {
    fail<Error>("UniPC: the order must be 1, 2 or 3, but is {}", options_.order);
  }
}

double UniPc::log_snr(int64_t i) const {
  constexpr double kSmallest = 1e-12;
  const double sigma = schedule().sigmas.at(i);
  return std::log(std::max(1.0 - sigma, kSmallest)) - std::log(std::max(sigma, kSmallest));
}

at::Tensor UniPc::update(const at::Tensor& sample, int64_t to, int64_t order,
                         const std::optional<at::Tensor>& clean_at_target) const {
  const int64_t from = to - 1;
  const double sigma = schedule().sigmas.at(to);
  const double alpha = 1.0 - sigma;
  const double h = log_snr(to) - log_snr(from);
  const Phi phi = make_phi(h, order, options_.solver);

  std::vector<double> ratios;
  std::vector<at::Tensor> differences;
  for (int64_t k = 1; k < order; ++k) {
    ratios.push_back((log_snr(from - k) - log_snr(from)) / h);
    differences.push_back((cleans_[k] - cleans_[0]) / ratios.back());
  }
  if (clean_at_target) {
    ratios.push_back(1.0);
    differences.push_back(*clean_at_target - cleans_[0]);
  }
  // With one unknown the published coefficient 1/2 replaces the solution.
  const std::vector<double> weights = ratios.size() > 1 ? solve_powers(ratios, phi.targets)
                                                        : std::vector<double>(ratios.size(), 0.5);

  at::Tensor result =
      (sigma / schedule().sigmas.at(from)) * sample - (alpha * phi.phi_1) * cleans_[0];
  for (size_t k = 0; k < weights.size(); ++k) {
    result = result - (alpha * phi.b_of_h * weights[k]) * differences[k];
  }
  return result;
}

at::Tensor UniPc::step(const at::Tensor& velocity, int64_t i, const at::Tensor& sample) {
  if (i == 0) {
    cleans_.clear();
  } else if (i != next_step_) {
    fail<Error>("UniPC: step {} must come next, but step {} was asked for", next_step_, i);
  }
  at::Tensor current = sample.to(at::kFloat);
  const at::Tensor clean = current - schedule().sigmas.at(i) * velocity.to(at::kFloat);
  if (i > 0) current = update(last_sample_, i, last_order_, clean);

  cleans_.push_front(clean);
  if (cleans_.size() > static_cast<size_t>(options_.order)) cleans_.pop_back();
  last_order_ = std::min({options_.order, num_steps() - i, i + 1});
  last_sample_ = current;
  next_step_ = i + 1;
  return update(current, i + 1, last_order_, std::nullopt).to(sample.scalar_type());
}

}  // namespace zoetrope
