// The inner kernels of matrix multiplication and attention: operands packed into panels, tiles of
// 14 x 32 accumulators. Internal to kernels/; the implementation needs AVX-512 (bf16 also
// AVX512-BF16), callers check has_packed_matmul(). A unit is 32 bits along k: one fp32 number or a
// pair of bf16 numbers, so that both types share one layout. Source: Goto and van de Geijn,
// "Anatomy of High-Performance Matrix Multiplication" (2008).
#pragma once

#include <cstdint>

namespace zoetrope::kernels {

inline constexpr int64_t kPanelRows = 14;     ///< rows of a panel of the left operand
inline constexpr int64_t kPanelColumns = 32;  ///< columns of a panel of the right operand

enum class Element { kFp32, kBf16 };

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
/// Units of `num_k` elements.
inline int64_t num_units(Element element, int64_t num_k) {
  return element == Element::kBf16 ? (num_k + 1) / 2 : num_k;
}
inline int64_t element_bytes(Element element) {
  return element == Element::kBf16 ? 2 : 4;
}

/// A strided matrix [across, k] that becomes panels of `width` (14 or 32) with zeros beyond its
/// edges.
struct PackJob {
  const void* source = nullptr;
  Element source_element = Element::kFp32;
  Element packed_element = Element::kFp32;  ///< fp32 may be packed as bf16
  int64_t num_across = 0;
  int64_t num_k = 0;
  int64_t across_stride = 0;  ///< in elements; it or k_stride is 1
  int64_t k_stride = 0;
  int64_t width = 0;
  uint32_t* target = nullptr;  ///< panels of num_units(num_k) * width units
};
void pack_panels(const PackJob& job, int64_t first_panel, int64_t last_panel);

enum class Activation { kNone, kGelu, kGeluBackward };

/// What becomes of a finished block of the product.
struct TileOutput {
  void* target = nullptr;  ///< null: the block stays in TileJob::partial
  Element element = Element::kFp32;
  int64_t stride = 0;          ///< elements from row to row
  bool accumulate = false;     ///< target += product
  float scale = 1.0F;          ///< of the product
  const void* bias = nullptr;  ///< one per column, of type bias_element
  Element bias_element = Element::kFp32;
  Activation activation = Activation::kNone;
  /// kGelu: where gelu(product + bias) goes. kGeluBackward: the saved pre-activation; the product
  /// is multiplied by gelu's derivative there. Same element type and stride as the target.
  void* activation_buffer = nullptr;
};

/// One block of a product for one range of k: rows x columns from panels.
struct TileJob {
  Element element{};  ///< of the packed operands
  const uint32_t* a = nullptr;
  int64_t a_panel_stride = 0;  ///< units from panel to panel
  const uint32_t* b = nullptr;
  int64_t b_panel_stride = 0;
  int64_t num_units = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  float* partial = nullptr;  ///< sums of earlier and later ranges of k; unused when first and last
  int64_t partial_stride = 0;
  bool first = false;
  bool last = false;
  bool rows_outermost = false;  ///< keep an A panel in the first cache rather than a B panel
  TileOutput output;
};
void multiply_panels(const TileJob& job);

/// Rows of numbers, `stride` elements from row to row.
struct RowExtent {
  int64_t rows;
  int64_t columns;
  int64_t stride;
};

/// Row-wise over fp32 scores: x = exp(scale * x - maximum), returning each row's sum and
/// scale * maximum in `sums` and `maxima`.
void softmax_rows(float* scores, const RowExtent& extent, float scale, float* sums, float* maxima);

/// Row-wise: p = exp(scale * s - log_sum[row]) in place of s, and d = p * (d - delta[row]) * scale
/// in place of d, which has the extent of the scores.
void softmax_backward_rows(float* scores, float* d_probabilities, const RowExtent& extent,
                           float scale, const float* log_sums, const float* deltas);

/// Row-wise: target = source * factors[row], converted. `extent` is the source's.
void scale_rows(const float* source, const RowExtent& extent, void* target, Element element,
                int64_t target_stride, const float* factors);

/// sums[row] = sum of a * b over the columns.
void dot_rows(const void* a, const void* b, Element element, const RowExtent& extent, float* sums);

}  // namespace zoetrope::kernels
