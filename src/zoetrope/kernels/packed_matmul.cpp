#include "zoetrope/kernels/packed_matmul.h"

#include <algorithm>
#include <atomic>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "zoetrope/kernels/vector_dispatch.h"
#include "zoetrope/kernels/work_sharing.h"

namespace zoetrope::kernels {
namespace {

constexpr int64_t kMaxPassUnits = 448;  // units of k whose panels stay in the first-level cache
constexpr int64_t kBlockColumns = 6 * kPanelColumns;
constexpr int64_t kBlockRows = 14 * kPanelRows;
constexpr double kOneThreadOperations =
    4e6;  // below this, waking a second thread costs more than it does

/// One product, split into passes over k and blocks that threads take.
class PackedProduct {
 public:
  PackedProduct(Element element, const Matrix& a, const Matrix& b, const TileOutput& output)
      : element_(element),
        a_(a),
        b_(b),
        output_(output),
        units_(num_units(element, a.columns)),
        num_passes_(ceil_div(units_, kMaxPassUnits)),
        pass_units_(ceil_div(units_, num_passes_)),
        share_a_(a.rows <= b.columns) {}

  void run() {
    const int64_t across = share_a_ ? a_.rows : b_.columns;
    const int64_t width = share_a_ ? kPanelRows : kPanelColumns;
    const int64_t panels = ceil_div(across, width);
    const double operations =
        2.0 * static_cast<double>(a_.rows * b_.columns) * static_cast<double>(a_.columns);
    const bool alone = operations < kOneThreadOperations;
    const at::Tensor shared = at::empty({panels * width * units_}, at::kInt);
    shared_ = static_cast<uint32_t*>(shared.mutable_data_ptr());
    share_work(num_passes_ * ceil_div(panels, kPackGroup), alone, [&](WorkQueue& queue) {
      for (int64_t item = queue.next(); item >= 0; item = queue.next()) {
        const int64_t group = item / num_passes_;
        pack(share_a_, item % num_passes_, 0, group * kPackGroup,
             std::min(panels, (group + 1) * kPackGroup), shared_);
      }
    });
    const int64_t block = share_a_ ? kBlockColumns : kBlockRows;
    const int64_t blocks = ceil_div(share_a_ ? b_.columns : a_.rows, block);
    share_work(blocks, alone, [&](WorkQueue& queue) { run_blocks(queue, block); });
  }

 private:
  static constexpr int64_t kPackGroup = 8;  // panels that a thread packs at a time

  void run_blocks(WorkQueue& queue, int64_t block) const {
    int64_t item = queue.next();
    if (item < 0) return;
    const at::Tensor local = at::empty({block * pass_units_}, at::kInt);
    const bool needs_partial = num_passes_ > 1 && !partial_in_target();
    const int64_t other = share_a_ ? a_.rows : b_.columns;
    const at::Tensor partial =
        needs_partial ? at::empty({block * other}, at::kFloat) : at::Tensor();
    for (; item >= 0; item = queue.next()) {
      run_block(item * block, block, static_cast<uint32_t*>(local.mutable_data_ptr()),
                needs_partial ? partial.mutable_data_ptr<float>() : nullptr);
    }
  }

  /// Sums of several passes may wait in the target itself when it holds plain fp32 sums.
  bool partial_in_target() const {
    return output_.element == Element::kFp32 && !output_.accumulate &&
           output_.activation == Activation::kNone;
  }

  void run_block(int64_t first, int64_t block, uint32_t* local, float* partial) const {
    const int64_t extent = std::min(block, (share_a_ ? b_.columns : a_.rows) - first);
    const int64_t width = share_a_ ? kPanelColumns : kPanelRows;
    TileJob job;
    job.element = element_;
    job.rows = share_a_ ? a_.rows : extent;
    job.columns = share_a_ ? extent : b_.columns;
    job.rows_outermost = share_a_;
    job.output = output_at(share_a_ ? 0 : first, share_a_ ? first : 0);
    job.partial = partial != nullptr ? partial : static_cast<float*>(job.output.target);
    job.partial_stride = partial != nullptr ? (share_a_ ? block : b_.columns) : output_.stride;
    for (int64_t pass = 0; pass < num_passes_; ++pass) {
      pack(!share_a_, pass, first, 0, ceil_div(extent, width), local);
      job.num_units = units_of(pass);
      const uint32_t* shared = shared_ + shared_pass_offset(pass);
      job.a = share_a_ ? shared : local;
      job.b = share_a_ ? local : shared;
      job.a_panel_stride = job.num_units * kPanelRows;
      job.b_panel_stride = job.num_units * kPanelColumns;
      job.first = pass == 0;
      job.last = pass + 1 == num_passes_;
      multiply_panels(job);
    }
  }

  int64_t units_of(int64_t pass) const {
    return std::min(pass_units_, units_ - pass * pass_units_);
  }

  int64_t shared_pass_offset(int64_t pass) const {
    const int64_t across = share_a_ ? a_.rows : b_.columns;
    const int64_t width = share_a_ ? kPanelRows : kPanelColumns;
    return pass * pass_units_ * ceil_div(across, width) * width;
  }

  /// Packs panels [first_panel, last_panel) of `first` and what follows, for one pass.
  void pack(bool left, int64_t pass, int64_t first, int64_t first_panel, int64_t last_panel,
            uint32_t* target) const {
    const Matrix& matrix = left ? a_ : b_;
    const int64_t per_unit = element_ == Element::kBf16 ? 2 : 1;
    const int64_t across_stride = left ? matrix.row_stride : matrix.column_stride;
    const int64_t k_stride = left ? matrix.column_stride : matrix.row_stride;
    const int64_t first_k = pass * pass_units_ * per_unit;
    PackJob job;
    job.source = static_cast<const char*>(matrix.data) +
                 (first * across_stride + first_k * k_stride) * element_bytes(element_);
    job.source_element = element_;
    job.packed_element = element_;
    job.num_across = (left ? a_.rows : b_.columns) - first;
    job.num_k = std::min(units_of(pass) * per_unit, a_.columns - first_k);
    job.across_stride = across_stride;
    job.k_stride = k_stride;
    job.width = left ? kPanelRows : kPanelColumns;
    job.target = target + (target == shared_ ? shared_pass_offset(pass) : 0);
    pack_panels(job, first_panel, last_panel);
  }

  TileOutput output_at(int64_t row, int64_t column) const {
    const auto moved = [&](void* base, int64_t elements, Element element) -> void* {
      return base == nullptr ? nullptr
                             : static_cast<char*>(base) + elements * element_bytes(element);
    };
    TileOutput output = output_;
    const int64_t offset = row * output_.stride + column;
    output.target = moved(output_.target, offset, output_.element);
    output.activation_buffer = moved(output_.activation_buffer, offset, output_.element);
    output.bias = moved(const_cast<void*>(output_.bias), column, output_.bias_element);
    return output;
  }

  Element element_;
  const Matrix& a_;
  const Matrix& b_;
  const TileOutput& output_;
  int64_t units_;
  int64_t num_passes_;
  int64_t pass_units_;
  bool share_a_;  ///< the smaller operand is packed whole, the other one block by block
  uint32_t* shared_ = nullptr;
};

}  // namespace

bool has_packed_matmul(Element element) {
  return element == Element::kBf16 ? has_bf16_multiply() : vector_level() == VectorLevel::kAvx512;
}

void packed_matmul(Element element, const Matrix& a, const Matrix& b, const TileOutput& output) {
  TORCH_INTERNAL_ASSERT(a.columns == b.rows && a.columns > 0);
  if (a.rows == 0 || b.columns == 0) return;
  PackedProduct(element, a, b, output).run();
}

}  // namespace zoetrope::kernels
