#include "zoetrope/kernels/rms_rope.h"

#include <cmath>

#include <ATen/ATen.h>

#include "zoetrope/kernels/bf16.h"
#include "zoetrope/kernels/row_chunks.h"

namespace zoetrope::kernels {
namespace {

/// The angles of every token; `pairs` pairs make one head.
struct Rotation {
  const float* cos;  // null: no rotation
  const float* sin;
  int64_t tokens;
  int64_t pairs;

  explicit Rotation(const RmsRope& o)
      : cos(data<float>(o.cos)),
        sin(data<float>(o.sin)),
        tokens(cos == nullptr ? 1 : o.cos.size(0)),
        pairs(cos == nullptr ? 0 : o.cos.size(1)) {}
};

/// Adjacent pairs of all heads of a row rotated by its token's angles; `direction` -1 rotates back.
template <class T>
inline __attribute__((always_inline)) void rotate_row(const Rotation& rotation, int64_t row,
                                                      const float* x, float direction, T* out,
                                                      int64_t width) {
  const int64_t pairs = rotation.pairs;
  const float* cos = rotation.cos + row % rotation.tokens * pairs;
  const float* sin = rotation.sin + row % rotation.tokens * pairs;
  for (int64_t head = 0; head < width; head += 2 * pairs) {
#pragma omp simd
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = x[head + 2 * i];
      const float b = x[head + 2 * i + 1];
      const float s = direction * sin[i];
      store(out[head + 2 * i], a * cos[i] - b * s);
      store(out[head + 2 * i + 1], b * cos[i] + a * s);
    }
  }
}

template <class T, class Out>
inline __attribute__((always_inline)) void scale_row(const T* x, float inverse, const T* weight,
                                                     Out* out, int64_t width) {
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) store(out[j], to_float(x[j]) * inverse * to_float(weight[j]));
}

template <class T>
void rms_rope_of(const RmsRope& o, float eps) {
  const int64_t width = o.x.size(1);
  const auto* x = data<T>(o.x);
  const auto* weight = data<T>(o.weight);
  auto* out = data<T>(o.out);
  auto* inverse_rms = data<float>(o.inverse_rms);
  const int64_t x_stride = o.x.stride(0);
  const int64_t out_stride = o.out.stride(0);
  const Rotation rotation(o);
  Chunks(rows_of(o.x)).for_each([&](const Chunk& chunk) {
    const at::Tensor scratch = at::empty({width}, at::kFloat);
    float* normed = scratch.mutable_data_ptr<float>();
    chunk.for_each_row([=](int64_t row) __attribute__((always_inline)) {
      const T* __restrict__ source = x + row * x_stride;
      T* __restrict__ target = out + row * out_stride;
      float squares = 0;
#pragma omp simd reduction(+ : squares)
      for (int64_t j = 0; j < width; ++j) squares += to_float(source[j]) * to_float(source[j]);
      const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(width) + eps);
      inverse_rms[row] = inverse;
      if (rotation.cos == nullptr) return scale_row(source, inverse, weight, target, width);
      scale_row(source, inverse, weight, normed, width);
      rotate_row(rotation, row, normed, 1.0F, target, width);
    });
  });
}

template <class T>
void rms_rope_backward_of(const RmsRope& o, const RmsRopeGradient& g) {
  const int64_t width = o.x.size(1);
  const auto* x = data<T>(o.x);
  const auto* weight = data<T>(o.weight);
  const auto* inverse_rms = data<float>(o.inverse_rms);
  const auto* d_out = data<T>(g.d_out);
  auto* d_x = data<T>(g.d_x);
  const int64_t x_stride = o.x.stride(0);
  const int64_t d_out_stride = g.d_out.stride(0);
  const int64_t d_x_stride = g.d_x.stride(0);
  const Rotation rotation(o);
  const Chunks chunks(rows_of(o.x));
  const ColumnSums sums(chunks, 2);
  chunks.for_each([&](const Chunk& chunk) {
    const at::Tensor scratch = at::empty({2 * width}, at::kFloat);
    auto* scratch_data = scratch.mutable_data_ptr<float>();
    float* d_weight_sum = sums.begin(chunk, 0);
    float* d_x_partial = sums.begin(chunk, 1);
    chunk.for_each_row([=](int64_t row) __attribute__((always_inline)) {
      float* __restrict__ gradient = scratch_data;
      float* __restrict__ unrotated = scratch_data + width;
      float* __restrict__ d_weight = d_weight_sum;
      float* __restrict__ d_x_sum = d_x_partial;
      const T* __restrict__ source = x + row * x_stride;
      const T* __restrict__ incoming = d_out + row * d_out_stride;
      T* target = d_x + row * d_x_stride;
      const float inverse = inverse_rms[row];
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) gradient[j] = to_float(incoming[j]);
      const float* d = gradient;
      if (rotation.cos != nullptr) {
        rotate_row(rotation, row, gradient, -1.0F, unrotated, width);
        d = unrotated;
      }
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t j = 0; j < width; ++j) {
        const float normalized = to_float(source[j]) * inverse;
        d_weight[j] += d[j] * normalized;
        dot += d[j] * to_float(weight[j]) * normalized;
      }
      const float mean_dot = dot / static_cast<float>(width);
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) {
        const float value =
            inverse * (d[j] * to_float(weight[j]) - to_float(source[j]) * inverse * mean_dot);
        store(target[j], value);
        d_x_sum[j] += value;
      }
    });
  });
  sums.finish(0, g.d_weight);
  sums.finish(1, g.d_x_sum);
}

}  // namespace

void rms_rope(const RmsRope& operands, double eps) {
  const auto small = static_cast<float>(eps);
  is_bf16(operands.x) ? rms_rope_of<Bf16>(operands, small) : rms_rope_of<float>(operands, small);
}

void rms_rope_backward(const RmsRope& operands, const RmsRopeGradient& gradient) {
  is_bf16(operands.x) ? rms_rope_backward_of<Bf16>(operands, gradient)
                      : rms_rope_backward_of<float>(operands, gradient);
}

}  // namespace zoetrope::kernels
