#include "zoetrope/kernels/packed_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "zoetrope/kernels/work_sharing.h"

namespace zoetrope::kernels {
namespace {

constexpr int64_t kChunkRows = 14 * kPanelRows;
constexpr int64_t kMaxPassUnits = 448;
constexpr double kOneThreadOperations = 4e6;

int64_t round_up(int64_t value, int64_t multiple) {
  return ceil_div(value, multiple) * multiple;
}

/// A packed operand and where its panels lie.
struct Packed {
  at::Tensor buffer;
  int64_t units = 0;
  int64_t width = 0;

  Packed(Element element, int64_t across, int64_t num_k, int64_t panel_width)
      : buffer(at::empty({round_up(across, panel_width) * num_units(element, num_k)}, at::kInt)),
        width(panel_width) {}
  uint32_t* data() const { return static_cast<uint32_t*>(buffer.mutable_data_ptr()); }
};

/// A matrix [across, k] with strides in elements.
struct Strided {
  const void* data;
  int64_t across_stride;
  int64_t k_stride;
};

struct ProductSize {
  int64_t rows;
  int64_t columns;
  int64_t num_k;
};

/// One head of one sample: all steps of its forward or backward pass, on one thread.
class Head {
 public:
  Head(Element element, const AttentionShape& shape)
      : element_(element),
        shape_(shape),
        width_(shape.heads * shape.head_dim),
        score_stride_(round_up(shape.num_keys, kPanelColumns)),
        scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)))),
        chunk_(std::min(kChunkRows, round_up(shape.num_queries, kPanelRows))),
        rows_of_d_(element, chunk_, shape.head_dim, kPanelRows),
        rows_of_keys_(element, chunk_, shape.num_keys, kPanelRows),
        keys_of_d_(element, shape.num_keys, shape.head_dim, kPanelColumns),
        d_of_keys_(element, shape.head_dim, shape.num_keys, kPanelColumns),
        scores_(at::empty({chunk_ * score_stride_}, at::kFloat)),
        sums_(at::empty({chunk_}, at::kFloat)),
        maxima_(at::empty({chunk_}, at::kFloat)),
        chunk_out_(at::empty({chunk_ * round_up(shape.head_dim, kPanelColumns)}, at::kFloat)) {}

  void forward(const AttentionOperands& operands, int64_t batch, int64_t head) {
    const int64_t keys = shape_.num_keys;
    const int64_t d = shape_.head_dim;
    pack({start_of(operands.k, batch, head, keys), operands.k.stride, 1}, keys, d, keys_of_d_);
    pack({start_of(operands.v, batch, head, keys), 1, operands.v.stride}, d, keys, d_of_keys_);
    float* sums = sums_.mutable_data_ptr<float>();
    float* maxima = maxima_.mutable_data_ptr<float>();
    float* log_sums = operands.log_sums + (batch * shape_.heads + head) * shape_.num_queries;
    for (int64_t first = 0; first < shape_.num_queries; first += chunk_) {
      const int64_t rows = std::min(chunk_, shape_.num_queries - first);
      const void* q =
          row_at(start_of(operands.q, batch, head, shape_.num_queries), first * operands.q.stride);
      pack({q, operands.q.stride, 1}, rows, d, rows_of_d_);
      multiply(rows_of_d_, keys_of_d_, {rows, keys, d}, scores(), score_stride_);
      count_last_key(rows);
      softmax_rows(scores(), {rows, keys, score_stride_}, scale_, sums, maxima);
      pack({scores(), score_stride_, 1}, rows, keys, rows_of_keys_, Element::kFp32);
      float* out = chunk_out_.mutable_data_ptr<float>();
      multiply(rows_of_keys_, d_of_keys_, {rows, d, keys}, out, round_up(d, kPanelColumns));
      for (int64_t i = 0; i < rows; ++i) {
        log_sums[first + i] = maxima[i] + std::log(sums[i]);
        sums[i] = 1.0F / sums[i];
      }
      void* target = row_at(start_of(operands.out, batch, head, shape_.num_queries),
                            first * operands.out.stride);
      scale_rows(out, {rows, d, round_up(d, kPanelColumns)}, target, element_, operands.out.stride,
                 sums);
    }
  }

  void backward(const AttentionOperands& operands, const AttentionGradients& gradients,
                int64_t batch, int64_t head);

 private:
  /// The first element of a head's tokens.
  void* start_of(const HeadTokens& tokens, int64_t batch, int64_t head, int64_t num_tokens) const {
    const int64_t batch_stride =
        tokens.batch_stride != 0 ? tokens.batch_stride : num_tokens * tokens.stride;
    return row_at(tokens.data, batch * batch_stride + head * shape_.head_dim);
  }
  void* row_at(const void* base, int64_t elements) const {
    return static_cast<char*>(const_cast<void*>(base)) + elements * element_bytes(element_);
  }
  /// n equal scores s add n exp(s) to a sum of exponentials: s + log(n) in one place.
  void count_last_key(int64_t rows) const {
    if (shape_.last_key_count == 1) return;
    const auto count =
        static_cast<float>(std::log(static_cast<double>(shape_.last_key_count)) / scale_);
    for (int64_t i = 0; i < rows; ++i) scores()[i * score_stride_ + shape_.num_keys - 1] += count;
  }
  float* scores() const { return scores_.mutable_data_ptr<float>(); }

  void pack(const Strided& source, int64_t across, int64_t num_k, Packed& packed) {
    pack(source, across, num_k, packed, element_);
  }
  void pack(const Strided& source, int64_t across, int64_t num_k, Packed& packed,
            Element source_element) {
    const PackJob job{source.data,          source_element,  element_,     across,       num_k,
                      source.across_stride, source.k_stride, packed.width, packed.data()};
    pack_panels(job, 0, ceil_div(across, packed.width));
    packed.units = num_units(element_, num_k);
  }

  /// target [rows, columns] (fp32) = a * b, or += with `accumulate`.
  void multiply(const Packed& a, const Packed& b, const ProductSize& size, float* target,
                int64_t stride, bool accumulate = false) const {
    const auto [rows, columns, num_k] = size;
    const int64_t units = num_units(element_, num_k);
    const int64_t passes = ceil_div(units, kMaxPassUnits);
    const int64_t pass_units = ceil_div(units, passes);
    TileJob job;
    job.element = element_;
    job.a_panel_stride = units * kPanelRows;
    job.b_panel_stride = units * kPanelColumns;
    job.rows = rows;
    job.columns = columns;
    job.partial = target;
    job.partial_stride = stride;
    job.rows_outermost = rows <= columns;
    job.last = false;
    for (int64_t pass = 0; pass < passes; ++pass) {
      job.a = a.data() + pass * pass_units * kPanelRows;
      job.b = b.data() + pass * pass_units * kPanelColumns;
      job.num_units = std::min(pass_units, units - pass * pass_units);
      job.first = pass == 0 && !accumulate;
      multiply_panels(job);
    }
  }

  Element element_;
  const AttentionShape& shape_;
  int64_t width_;
  int64_t score_stride_;
  float scale_;
  int64_t chunk_;
  Packed rows_of_d_;     ///< queries: rows of a chunk, k = head_dim
  Packed rows_of_keys_;  ///< probabilities: rows of a chunk, k = keys
  Packed keys_of_d_;     ///< columns = keys, k = head_dim
  Packed d_of_keys_;     ///< columns = head_dim, k = keys
  at::Tensor scores_, sums_, maxima_, chunk_out_;
};

void Head::backward(const AttentionOperands& operands, const AttentionGradients& gradients,
                    int64_t batch, int64_t head) {
  const int64_t keys = shape_.num_keys;
  const int64_t queries = shape_.num_queries;
  const int64_t d = shape_.head_dim;
  const int64_t d_stride = round_up(d, kPanelColumns);
  Packed keys_of_d_values(element_, keys, d, kPanelColumns);
  Packed chunk_of_keys(element_, keys, chunk_, kPanelRows);
  Packed chunk_of_d(element_, d, chunk_, kPanelColumns);
  const at::Tensor d_scores = at::empty({chunk_ * score_stride_}, at::kFloat);
  const at::Tensor sums = at::empty({2 * keys * d_stride}, at::kFloat);
  float* d_probabilities = d_scores.mutable_data_ptr<float>();
  float* d_keys = sums.mutable_data_ptr<float>();
  float* d_values = d_keys + keys * d_stride;
  float* deltas = sums_.mutable_data_ptr<float>();
  pack({start_of(operands.k, batch, head, keys), operands.k.stride, 1}, keys, d, keys_of_d_);
  pack({start_of(operands.v, batch, head, keys), operands.v.stride, 1}, keys, d, keys_of_d_values);
  pack({start_of(operands.k, batch, head, keys), 1, operands.k.stride}, d, keys, d_of_keys_);
  const float* log_sums = operands.log_sums + (batch * shape_.heads + head) * queries;
  std::vector<float> ones(static_cast<size_t>(std::max(keys, chunk_)), 1.0F);
  for (int64_t first = 0; first < queries; first += chunk_) {
    const int64_t rows = std::min(chunk_, queries - first);
    const void* q = row_at(start_of(operands.q, batch, head, queries), first * operands.q.stride);
    const void* out =
        row_at(start_of(operands.out, batch, head, queries), first * operands.out.stride);
    const void* d_out =
        row_at(start_of(gradients.d_out, batch, head, queries), first * gradients.d_out.stride);
    dot_rows(out, d_out, element_, {rows, d, width_}, deltas);
    pack({q, operands.q.stride, 1}, rows, d, rows_of_d_);
    multiply(rows_of_d_, keys_of_d_, {rows, keys, d}, scores(), score_stride_);
    pack({d_out, gradients.d_out.stride, 1}, rows, d, rows_of_d_);
    multiply(rows_of_d_, keys_of_d_values, {rows, keys, d}, d_probabilities, score_stride_);
    count_last_key(rows);
    softmax_backward_rows(scores(), d_probabilities, {rows, keys, score_stride_}, scale_,
                          log_sums + first, deltas);

    pack({scores(), 1, score_stride_}, keys, rows, chunk_of_keys, Element::kFp32);
    pack({d_out, 1, gradients.d_out.stride}, d, rows, chunk_of_d);
    multiply(chunk_of_keys, chunk_of_d, {keys, d, rows}, d_values, d_stride, first > 0);
    pack({d_probabilities, 1, score_stride_}, keys, rows, chunk_of_keys, Element::kFp32);
    pack({q, 1, operands.q.stride}, d, rows, chunk_of_d);
    multiply(chunk_of_keys, chunk_of_d, {keys, d, rows}, d_keys, d_stride, first > 0);

    pack({d_probabilities, score_stride_, 1}, rows, keys, rows_of_keys_, Element::kFp32);
    float* d_queries = chunk_out_.mutable_data_ptr<float>();
    multiply(rows_of_keys_, d_of_keys_, {rows, d, keys}, d_queries, d_stride);
    void* target =
        row_at(start_of(gradients.d_q, batch, head, queries), first * gradients.d_q.stride);
    scale_rows(d_queries, {rows, d, d_stride}, target, element_, gradients.d_q.stride, ones.data());
  }
  scale_rows(d_keys, {keys, d, d_stride}, start_of(gradients.d_k, batch, head, keys), element_,
             gradients.d_k.stride, ones.data());
  scale_rows(d_values, {keys, d, d_stride}, start_of(gradients.d_v, batch, head, keys), element_,
             gradients.d_v.stride, ones.data());
}

bool is_small(const AttentionShape& shape) {
  return 4.0 * static_cast<double>(shape.batch * shape.heads * shape.num_queries) *
             static_cast<double>(shape.num_keys * shape.head_dim) <
         kOneThreadOperations;
}

}  // namespace

void packed_attention(Element element, const AttentionShape& shape,
                      const AttentionOperands& operands) {
  share_work(shape.batch * shape.heads, is_small(shape), [&](WorkQueue& queue) {
    Head head(element, shape);
    for (int64_t item = queue.next(); item >= 0; item = queue.next()) {
      head.forward(operands, item / shape.heads, item % shape.heads);
    }
  });
}

void packed_attention_backward(Element element, const AttentionShape& shape,
                               const AttentionOperands& operands,
                               const AttentionGradients& gradients) {
  share_work(shape.batch * shape.heads, is_small(shape), [&](WorkQueue& queue) {
    Head head(element, shape);
    for (int64_t item = queue.next(); item >= 0; item = queue.next()) {
      head.backward(operands, gradients, item / shape.heads, item % shape.heads);
    }
  });
}

}  // namespace zoetrope::kernels
