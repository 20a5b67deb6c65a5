#include <immintrin.h>

#include "zoetrope/kernels/packed_tiles.h"

// Everything below is compiled for AVX-512. No function of another header may be instantiated here,
// or the linker could pick the AVX-512 copy of it for a processor that lacks it.
// NOLINTBEGIN(clang-diagnostic-unknown-*): clang, which clang-tidy is, knows neither the pragma nor
// the first of the two warnings.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")
// GCC 12 takes the undefined pass-through operand of its own intrinsics for a use.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
// NOLINTEND(clang-diagnostic-unknown-*)

namespace zoetrope::kernels {
namespace {

#define ZT_INLINE inline __attribute__((always_inline))

ZT_INLINE int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
ZT_INLINE __mmask16 lane_mask(int64_t count) {
  return count >= 16 ? __mmask16(0xFFFF)
                     : (count <= 0 ? __mmask16(0) : __mmask16((1U << count) - 1U));
}
ZT_INLINE __mmask32 half_lane_mask(int64_t count) {
  return count >= 32 ? __mmask32(0xFFFFFFFFU)
                     : (count <= 0 ? __mmask32(0) : __mmask32((1ULL << count) - 1U));
}

// ---- elements <-> fp32 lanes

template <Element kElement>
ZT_INLINE __m512 load_lanes(const void* base, int64_t index, __mmask16 mask) {
  if constexpr (kElement == Element::kFp32)
    return _mm512_maskz_loadu_ps(mask, static_cast<const float*>(base) + index);
  const __m256i bits = _mm256_maskz_loadu_epi16(mask, static_cast<const uint16_t*>(base) + index);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

template <Element kElement>
ZT_INLINE void store_lanes(void* base, int64_t index, __mmask16 mask, __m512 value) {
  if constexpr (kElement == Element::kFp32) {
    _mm512_mask_storeu_ps(static_cast<float*>(base) + index, mask, value);
  } else {
    _mm256_mask_storeu_epi16(static_cast<uint16_t*>(base) + index, mask,
                             (__m256i)_mm512_cvtneps_pbh(value));
  }
}

ZT_INLINE __m512 load_any(Element element, const void* base, int64_t index, __mmask16 mask) {
  return element == Element::kFp32 ? load_lanes<Element::kFp32>(base, index, mask)
                                   : load_lanes<Element::kBf16>(base, index, mask);
}
ZT_INLINE void store_any(Element element, void* base, int64_t index, __mmask16 mask, __m512 value) {
  if (element == Element::kFp32) {
    store_lanes<Element::kFp32>(base, index, mask, value);
  } else {
    store_lanes<Element::kBf16>(base, index, mask, value);
  }
}

// ---- packing

/// 16 units along k of one row.
template <Element kSource, Element kPacked>
ZT_INLINE __m512i load_units_along_k(const void* source, int64_t index, int64_t num_elements) {
  if constexpr (kPacked == Element::kFp32) {
    return _mm512_maskz_loadu_epi32(lane_mask(num_elements),
                                    static_cast<const float*>(source) + index);
  } else if constexpr (kSource == Element::kBf16) {
    return _mm512_maskz_loadu_epi16(half_lane_mask(num_elements),
                                    static_cast<const uint16_t*>(source) + index);
  } else {
    const __m512 low =
        _mm512_maskz_loadu_ps(lane_mask(num_elements), static_cast<const float*>(source) + index);
    const __m512 high = _mm512_maskz_loadu_ps(lane_mask(num_elements - 16),
                                              static_cast<const float*>(source) + index + 16);
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
  }
}

/// 16 units across, at unit `unit` of k.
template <Element kSource, Element kPacked>
ZT_INLINE __m512i load_units_across(const PackJob& job, int64_t across, int64_t unit,
                                    __mmask16 mask) {
  if constexpr (kPacked == Element::kFp32) {
    return _mm512_maskz_loadu_epi32(
        mask, static_cast<const float*>(job.source) + unit * job.k_stride + across);
  } else {
    const int64_t k = unit * 2;
    const __mmask16 odd_mask = k + 1 < job.num_k ? mask : __mmask16(0);
    const int64_t even_index = k * job.k_stride + across;
    const int64_t odd_index = even_index + (odd_mask != 0 ? job.k_stride : 0);
    __m256i even;
    __m256i odd;
    if constexpr (kSource == Element::kBf16) {
      even = _mm256_maskz_loadu_epi16(mask, static_cast<const uint16_t*>(job.source) + even_index);
      odd =
          _mm256_maskz_loadu_epi16(odd_mask, static_cast<const uint16_t*>(job.source) + odd_index);
    } else {
      even = (__m256i)_mm512_cvtneps_pbh(
          _mm512_maskz_loadu_ps(mask, static_cast<const float*>(job.source) + even_index));
      odd = (__m256i)_mm512_cvtneps_pbh(
          _mm512_maskz_loadu_ps(odd_mask, static_cast<const float*>(job.source) + odd_index));
    }
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
  }
}

ZT_INLINE void transpose_16x16(__m512i r[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xDD);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xDD);
  }
}

/// Up to 16 rows of one panel, k contiguous.
template <Element kSource, Element kPacked>
void pack_rows_along_k(const PackJob& job, int64_t first_row, int64_t num_rows, int64_t lanes,
                       uint32_t* target) {
  const int64_t units = num_units(kPacked, job.num_k);
  const int64_t per_unit = kPacked == Element::kBf16 ? 2 : 1;
  const int64_t bytes = element_bytes(kSource);
  const auto* base = static_cast<const char*>(job.source);
  const __mmask16 mask = lane_mask(lanes);
  for (int64_t unit = 0; unit < units; unit += 16) {
    __m512i r[16];
    const int64_t k = unit * per_unit;
#pragma GCC unroll 16
    for (int64_t i = 0; i < 16; ++i) {
      r[i] = i < num_rows
                 ? load_units_along_k<kSource, kPacked>(
                       base + (first_row + i) * job.across_stride * bytes, k, job.num_k - k)
                 : _mm512_setzero_si512();
    }
    transpose_16x16(r);
    const int64_t count = smaller(16, units - unit);
    if (count == 16) {
#pragma GCC unroll 16
      for (int64_t i = 0; i < 16; ++i)
        _mm512_mask_storeu_epi32(target + (unit + i) * job.width, mask, r[i]);
    } else {
#pragma GCC unroll 16
      for (int64_t i = 0; i < 16; ++i) {
        if (i < count) _mm512_mask_storeu_epi32(target + (unit + i) * job.width, mask, r[i]);
      }
    }
  }
}

template <Element kSource, Element kPacked>
void pack_panel(const PackJob& job, int64_t panel) {
  const int64_t units = num_units(kPacked, job.num_k);
  uint32_t* target = job.target + panel * units * job.width;
  const int64_t first = panel * job.width;
  for (int64_t group = 0; group < job.width; group += 16) {
    const int64_t lanes = smaller(16, job.width - group);
    const int64_t valid = smaller(lanes, job.num_across - first - group);
    if (job.k_stride == 1) {
      pack_rows_along_k<kSource, kPacked>(job, first + group, valid, lanes, target + group);
      continue;
    }
    const __mmask16 load_mask = lane_mask(valid);
    const __mmask16 store_mask = lane_mask(lanes);
    for (int64_t unit = 0; unit < units; ++unit) {
      _mm512_mask_storeu_epi32(
          target + unit * job.width + group, store_mask,
          load_units_across<kSource, kPacked>(job, first + group, unit, load_mask));
    }
  }
}

// ---- exponentials

/// exp(x), within 2 ulp for normal results; 0 below -87.3.
ZT_INLINE __m512 exp_lanes(__m512 x) {
  const __m512 log2e = _mm512_set1_ps(1.44269504088896341F);
  const __m512 clamped =
      _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.33F)), _mm512_set1_ps(88.72F));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(clamped, log2e),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), clamped);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4F);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1F));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0F)));
  return _mm512_scalef_ps(p, n);
}

constexpr float kGeluScale = 1.5957691216057308F;  // 2 sqrt(2 / pi)
constexpr float kGeluCubic = 0.044715F;

/// sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)); gelu(x) = x * this.
ZT_INLINE __m512 gelu_gate(__m512 x, __m512 x_squared) {
  const __m512 inner =
      _mm512_mul_ps(_mm512_mul_ps(x, _mm512_set1_ps(-kGeluScale)),
                    _mm512_fmadd_ps(x_squared, _mm512_set1_ps(kGeluCubic), _mm512_set1_ps(1.0F)));
  return _mm512_div_ps(_mm512_set1_ps(1.0F), _mm512_add_ps(_mm512_set1_ps(1.0F), exp_lanes(inner)));
}

ZT_INLINE __m512 gelu_lanes(__m512 x) {
  return _mm512_mul_ps(x, gelu_gate(x, _mm512_mul_ps(x, x)));
}

ZT_INLINE __m512 gelu_derivative(__m512 x) {
  const __m512 x_squared = _mm512_mul_ps(x, x);
  const __m512 gate = gelu_gate(x, x_squared);
  const __m512 slope = _mm512_mul_ps(
      _mm512_set1_ps(kGeluScale),
      _mm512_fmadd_ps(x_squared, _mm512_set1_ps(3.0F * kGeluCubic), _mm512_set1_ps(1.0F)));
  const __m512 rest = _mm512_mul_ps(gate, _mm512_sub_ps(_mm512_set1_ps(1.0F), gate));
  return _mm512_fmadd_ps(_mm512_mul_ps(x, slope), rest, gate);
}

// ---- tiles

template <Element kElement>
ZT_INLINE __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
  if constexpr (kElement == Element::kFp32) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
  } else {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
}

ZT_INLINE void finish_half(const TileOutput& output, int64_t row, int64_t column, __mmask16 mask,
                           __m512 value) {
  const int64_t index = row * output.stride + column;
  if (output.scale != 1.0F) value = _mm512_mul_ps(value, _mm512_set1_ps(output.scale));
  if (output.bias != nullptr)
    value = _mm512_add_ps(value, load_any(output.bias_element, output.bias, column, mask));
  if (output.activation == Activation::kGeluBackward) {
    const __m512 before = load_any(output.element, output.activation_buffer, index, mask);
    value = _mm512_mul_ps(value, gelu_derivative(before));
  }
  if (output.accumulate)
    value = _mm512_add_ps(value, load_any(output.element, output.target, index, mask));
  store_any(output.element, output.target, index, mask, value);
  if (output.activation == Activation::kGelu) {
    store_any(output.element, output.activation_buffer, index, mask, gelu_lanes(value));
  }
}

template <Element kElement>
void multiply_tile(const TileJob& job, int64_t row_panel, int64_t column_panel) {
  const uint32_t* a = job.a + row_panel * job.a_panel_stride;
  const uint32_t* b = job.b + column_panel * job.b_panel_stride;
  __m512 low[kPanelRows];
  __m512 high[kPanelRows];
#pragma GCC unroll 14
  for (int64_t i = 0; i < kPanelRows; ++i) low[i] = high[i] = _mm512_setzero_ps();
  for (int64_t unit = 0; unit < job.num_units; ++unit) {
    const __m512i b_low = _mm512_loadu_si512(b);
    const __m512i b_high = _mm512_loadu_si512(b + 16);
#pragma GCC unroll 14
    for (int64_t i = 0; i < kPanelRows; ++i) {
      const __m512i a_i = _mm512_set1_epi32(static_cast<int>(a[i]));
      low[i] = multiply_add<kElement>(low[i], a_i, b_low);
      high[i] = multiply_add<kElement>(high[i], a_i, b_high);
    }
    a += kPanelRows;
    b += kPanelColumns;
  }
  const int64_t row0 = row_panel * kPanelRows;
  const int64_t column0 = column_panel * kPanelColumns;
  const int64_t rows = smaller(kPanelRows, job.rows - row0);
  const __mmask16 mask_low = lane_mask(job.columns - column0);
  const __mmask16 mask_high = lane_mask(job.columns - column0 - 16);
#pragma GCC unroll 14
  for (int64_t i = 0; i < kPanelRows; ++i) {
    if (i >= rows) continue;
    float* partial = job.partial + (row0 + i) * job.partial_stride + column0;
    __m512 sum_low = low[i];
    __m512 sum_high = high[i];
    if (!job.first) {
      sum_low = _mm512_add_ps(sum_low, _mm512_maskz_loadu_ps(mask_low, partial));
      sum_high = _mm512_add_ps(sum_high, _mm512_maskz_loadu_ps(mask_high, partial + 16));
    }
    if (job.last && job.output.target != nullptr) {
      finish_half(job.output, row0 + i, column0, mask_low, sum_low);
      finish_half(job.output, row0 + i, column0 + 16, mask_high, sum_high);
    } else {
      _mm512_mask_storeu_ps(partial, mask_low, sum_low);
      _mm512_mask_storeu_ps(partial + 16, mask_high, sum_high);
    }
  }
}

template <Element kElement>
void multiply_all(const TileJob& job) {
  const int64_t row_panels = ceil_div(job.rows, kPanelRows);
  const int64_t column_panels = ceil_div(job.columns, kPanelColumns);
  if (job.rows_outermost) {
    for (int64_t i = 0; i < row_panels; ++i) {
      for (int64_t j = 0; j < column_panels; ++j) multiply_tile<kElement>(job, i, j);
    }
  } else {
    for (int64_t j = 0; j < column_panels; ++j) {
      for (int64_t i = 0; i < row_panels; ++i) multiply_tile<kElement>(job, i, j);
    }
  }
}

}  // namespace

void pack_panels(const PackJob& job, int64_t first_panel, int64_t last_panel) {
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    if (job.packed_element == Element::kFp32) {
      pack_panel<Element::kFp32, Element::kFp32>(job, panel);
    } else if (job.source_element == Element::kBf16) {
      pack_panel<Element::kBf16, Element::kBf16>(job, panel);
    } else {
      pack_panel<Element::kFp32, Element::kBf16>(job, panel);
    }
  }
}

void multiply_panels(const TileJob& job) {
  if (job.element == Element::kFp32) {
    multiply_all<Element::kFp32>(job);
  } else {
    multiply_all<Element::kBf16>(job);
  }
}

void softmax_rows(float* scores, const RowExtent& extent, float scale, float* sums, float* maxima) {
  const auto [rows, columns, stride] = extent;
  for (int64_t row = 0; row < rows; ++row) {
    float* x = scores + row * stride;
    __m512 maximum = _mm512_set1_ps(-3.0e38F);
    for (int64_t j = 0; j < columns; j += 16) {
      const __mmask16 mask = lane_mask(columns - j);
      maximum = _mm512_mask_max_ps(maximum, mask, maximum, _mm512_maskz_loadu_ps(mask, x + j));
    }
    const float top = _mm512_reduce_max_ps(maximum) * scale;
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < columns; j += 16) {
      const __mmask16 mask = lane_mask(columns - j);
      const __m512 value = exp_lanes(_mm512_fmsub_ps(_mm512_maskz_loadu_ps(mask, x + j),
                                                     _mm512_set1_ps(scale), _mm512_set1_ps(top)));
      sum = _mm512_mask_add_ps(sum, mask, sum, value);
      _mm512_mask_storeu_ps(x + j, mask, value);
    }
    sums[row] = _mm512_reduce_add_ps(sum);
    maxima[row] = top;
  }
}

void softmax_backward_rows(float* scores, float* d_probabilities, const RowExtent& extent,
                           float scale, const float* log_sums, const float* deltas) {
  const auto [rows, columns, stride] = extent;
  for (int64_t row = 0; row < rows; ++row) {
    float* s = scores + row * stride;
    float* d = d_probabilities + row * stride;
    const __m512 log_sum = _mm512_set1_ps(log_sums[row]);
    const __m512 delta = _mm512_set1_ps(deltas[row]);
    for (int64_t j = 0; j < columns; j += 16) {
      const __mmask16 mask = lane_mask(columns - j);
      const __m512 p = exp_lanes(
          _mm512_fmsub_ps(_mm512_maskz_loadu_ps(mask, s + j), _mm512_set1_ps(scale), log_sum));
      const __m512 dp = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, d + j), delta);
      _mm512_mask_storeu_ps(s + j, mask, p);
      _mm512_mask_storeu_ps(d + j, mask,
                            _mm512_mul_ps(_mm512_mul_ps(p, dp), _mm512_set1_ps(scale)));
    }
  }
}

void scale_rows(const float* source, const RowExtent& extent, void* target, Element element,
                int64_t target_stride, const float* factors) {
  const auto [rows, columns, source_stride] = extent;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < columns; j += 16) {
      const __mmask16 mask = lane_mask(columns - j);
      const __m512 value =
          _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, source + row * source_stride + j),
                        _mm512_set1_ps(factors[row]));
      store_any(element, target, row * target_stride + j, mask, value);
    }
  }
}

void dot_rows(const void* a, const void* b, Element element, const RowExtent& extent, float* sums) {
  const auto [rows, columns, stride] = extent;
  for (int64_t row = 0; row < rows; ++row) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < columns; j += 16) {
      const __mmask16 mask = lane_mask(columns - j);
      sum = _mm512_fmadd_ps(load_any(element, a, row * stride + j, mask),
                            load_any(element, b, row * stride + j, mask), sum);
    }
    sums[row] = _mm512_reduce_add_ps(sum);
  }
}

}  // namespace zoetrope::kernels
