#include "zoetrope/kernels/flat_updates.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "zoetrope/kernels/bf16.h"
#include "zoetrope/kernels/tensor_data.h"
#include "zoetrope/kernels/vector_dispatch.h"

namespace zoetrope::kernels {
namespace {

constexpr int64_t kGrain = int64_t{1} << 17;  // elements below which one thread is faster

struct NoShadow {};

template <class Gradient, class Shadow>
void adamw_range(const AdamWBuffers& buffers, const AdamWScalars& s, int64_t begin, int64_t end) {
  auto* __restrict__ master = data<float>(buffers.master);
  auto* __restrict__ exp_avg = data<float>(buffers.exp_avg);
  auto* __restrict__ exp_avg_sq = data<float>(buffers.exp_avg_sq);
  const auto* __restrict__ gradient = data<Gradient>(buffers.gradient);
  auto* __restrict__ shadow = data<Shadow>(buffers.value);
  run_vectorized([=]() __attribute__((always_inline)) {
    const float keep1 = 1.0F - s.beta1;
    const float keep2 = 1.0F - s.beta2;
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const float g = to_float(gradient[i]) * s.gradient_scale;
      const float m = exp_avg[i] + keep1 * (g - exp_avg[i]);
      const float v = s.beta2 * exp_avg_sq[i] + keep2 * g * g;
      const float updated =
          master[i] * s.decay - s.step_size * m / (std::sqrt(v) * s.inverse_sqrt_bias2 + s.eps);
      exp_avg[i] = m;
      exp_avg_sq[i] = v;
      master[i] = updated;
      if constexpr (!std::is_same_v<Shadow, NoShadow>) store(shadow[i], updated);
    }
  });
}

template <class T>
double sum_of_squares_of(const T* values, int64_t begin, int64_t end) {
  double sum = 0;
  run_vectorized([&sum, values, begin, end ]() __attribute__((always_inline)) {
    double lanes = 0;
#pragma omp simd reduction(+ : lanes)
    for (int64_t i = begin; i < end; ++i) {
      const double value = to_float(values[i]);
      lanes += value * value;
    }
    sum = lanes;
  });
  return sum;
}

template <class T>
std::vector<double> sums_of_squares_of_blocks(const at::Tensor& flat) {
  const T* values = data<T>(flat);
  const int64_t num_elements = flat.numel();
  const int64_t num_blocks = (num_elements + kSumBlock - 1) / kSumBlock;
  std::vector<double> sums(static_cast<size_t>(num_blocks));
  at::parallel_for(0, num_blocks, kGrain / kSumBlock, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      sums[static_cast<size_t>(block)] = sum_of_squares_of(
          values, block * kSumBlock, std::min(num_elements, (block + 1) * kSumBlock));
    }
  });
  return sums;
}

}  // namespace

void adamw_update(const AdamWBuffers& buffers, const AdamWScalars& scalars) {
  const bool shared = buffers.value.is_alias_of(buffers.master);
  const bool bf16_gradient = buffers.gradient.scalar_type() == at::kBFloat16;
  TORCH_CHECK(shared || buffers.value.scalar_type() == at::kBFloat16,
              "adamw_update: values must be fp32 masters or bf16, but are ",
              buffers.value.scalar_type());
  at::parallel_for(0, buffers.master.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if (shared && !bf16_gradient) return adamw_range<float, NoShadow>(buffers, scalars, begin, end);
    if (shared) return adamw_range<Bf16, NoShadow>(buffers, scalars, begin, end);
    if (bf16_gradient) return adamw_range<Bf16, Bf16>(buffers, scalars, begin, end);
    adamw_range<float, Bf16>(buffers, scalars, begin, end);
  });
}

std::vector<double> sums_of_squares(const at::Tensor& flat) {
  return flat.scalar_type() == at::kBFloat16 ? sums_of_squares_of_blocks<Bf16>(flat)
                                             : sums_of_squares_of_blocks<float>(flat);
}

void moving_average_update(const at::Tensor& average, const at::Tensor& current, double decay) {
  auto* __restrict__ target = data<float>(average);
  const auto* __restrict__ source = data<float>(current);
  const auto keep = static_cast<float>(decay);
  const auto take = static_cast<float>(1.0 - decay);
  at::parallel_for(0, average.numel(), kGrain, [=](int64_t begin, int64_t end) {
    run_vectorized([=]() __attribute__((always_inline)) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) target[i] = keep * target[i] + take * source[i];
    });
  });
}

}  // namespace zoetrope::kernels
