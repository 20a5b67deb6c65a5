// Linear passes over flat buffers on the CPU: AdamW, sums of squares, moving averages. Each has a
// twin made of ATen operations in optim/, which tests compare it with and which runs on other
// devices. Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019).
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope::kernels {

/// The scalars of one AdamW step.
struct AdamWScalars {
  float gradient_scale;  ///< multiplies the gradient (clipping)
  float decay;           ///< 1 - learning_rate * weight_decay
  float beta1;
  float beta2;
  float step_size;           ///< learning_rate / (1 - beta1^t)
  float inverse_sqrt_bias2;  ///< 1 / sqrt(1 - beta2^t)
  float eps;
};

/// One group's flat buffers, all contiguous and of one length.
struct AdamWBuffers {
  at::Tensor master;      ///< fp32, updated
  at::Tensor exp_avg;     ///< fp32, updated
  at::Tensor exp_avg_sq;  ///< fp32, updated
  at::Tensor gradient;    ///< fp32 or bf16
  at::Tensor value;  ///< the same memory as master, or a bf16 copy of it, written in the same pass
};

/// CPU only. master = decay * master - step_size * exp_avg / (sqrt(exp_avg_sq) * inverse_sqrt_bias2
/// + eps).
void adamw_update(const AdamWBuffers& buffers, const AdamWScalars& scalars);

/// Elements of one partial sum of squares.
inline constexpr int64_t kSumBlock = int64_t{1} << 14;

/// CPU only. Sums of squares of a contiguous fp32 or bf16 buffer, accumulated in double, one for
/// every kSumBlock elements; the same bits for any number of threads.
std::vector<double> sums_of_squares(const at::Tensor& flat);

/// CPU only. average = decay * average + (1 - decay) * current; contiguous fp32.
void moving_average_update(const at::Tensor& average, const at::Tensor& current, double decay);

}  // namespace zoetrope::kernels
