#include "zoetrope/checkpoint/dcp/dcp_item.h"

#include <algorithm>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

// Throws when the number of elements does not fit.
int64_t volume(const std::vector<int64_t>& sizes) {
  int64_t product = 1;
  for (const int64_t size : sizes) {
    if (size < 0 || __builtin_mul_overflow(product, size, &product))
      fail<CheckpointError>("sizes must be non-negative and fit into 64 bits, but are {}",
                            format_shape(sizes));
  }
  return product;
}

void check_inside(const std::vector<int64_t>& shape, const DcpBox& box) {
  bool inside = box.offsets.size() == shape.size() && box.sizes.size() == shape.size();
  for (size_t d = 0; inside && d < shape.size(); ++d) {
    inside = box.offsets[d] >= 0 && box.sizes[d] >= 0 && box.offsets[d] <= shape[d] &&
             box.sizes[d] <= shape[d] - box.offsets[d];
  }
  if (!inside)
    fail<CheckpointError>("a chunk must lie within the tensor of {}, but has {} at {}",
                          format_shape(shape), format_shape(box.sizes), format_shape(box.offsets));
}

bool overlap(const DcpBox& a, const DcpBox& b) {
  for (size_t d = 0; d < a.sizes.size(); ++d) {
    if (a.offsets[d] + a.sizes[d] <= b.offsets[d] || b.offsets[d] + b.sizes[d] <= a.offsets[d])
      return false;
  }
  return true;
}

// The dimension with the most different offsets: where a sweep compares the fewest pairs.
size_t sweep_dimension(size_t num_dimensions, const std::vector<const DcpBox*>& boxes) {
  size_t best = 0;
  size_t most = 0;
  for (size_t d = 0; d < num_dimensions; ++d) {
    std::vector<int64_t> offsets;
    offsets.reserve(boxes.size());
    for (const DcpBox* box : boxes) offsets.push_back(box->offsets[d]);
    std::sort(offsets.begin(), offsets.end());
    const auto count =
        static_cast<size_t>(std::unique(offsets.begin(), offsets.end()) - offsets.begin());
    if (count > most) {
      best = d;
      most = count;
    }
  }
  return best;
}

void check_apart(std::vector<const DcpBox*> boxes) {
  if (boxes.size() < 2) return;
  const size_t sweep = sweep_dimension(boxes.front()->sizes.size(), boxes);
  std::sort(boxes.begin(), boxes.end(), [sweep](const DcpBox* a, const DcpBox* b) {
    return a->offsets[sweep] < b->offsets[sweep];
  });
  std::vector<const DcpBox*> active;
  for (const DcpBox* box : boxes) {
    std::erase_if(active, [&](const DcpBox* before) {
      return before->offsets[sweep] + before->sizes[sweep] <= box->offsets[sweep];
    });
    for (const DcpBox* before : active) {
      if (overlap(*before, *box))
        fail<CheckpointError>("chunks must not overlap, but {} at {} and {} at {} do",
                              format_shape(before->sizes), format_shape(before->offsets),
                              format_shape(box->sizes), format_shape(box->offsets));
    }
    active.push_back(box);
  }
}

}  // namespace

std::string dcp_key(const DcpPath& path) {
  std::string key;
  for (const auto& part : path) {
    if (!key.empty()) key += ".";
    key += std::holds_alternative<int64_t>(part) ? std::to_string(std::get<int64_t>(part))
                                                 : std::get<std::string>(part);
  }
  return key;
}

void check_boxes_cover(const std::vector<int64_t>& shape, const std::vector<DcpBox>& boxes) {
  const int64_t num_elements = volume(shape);
  int64_t num_covered = 0;
  std::vector<const DcpBox*> filled;
  for (const DcpBox& box : boxes) {
    check_inside(shape, box);
    const int64_t count = volume(box.sizes);
    if (__builtin_add_overflow(num_covered, count, &num_covered))
      fail<CheckpointError>("chunks must not overlap, but have too many elements");
    if (count > 0) filled.push_back(&box);
  }
  check_apart(filled);
  if (num_covered != num_elements)
    fail<CheckpointError>("chunks must cover the {} elements of {}, but have {}", num_elements,
                          format_shape(shape), num_covered);
}

}  // namespace zoetrope
