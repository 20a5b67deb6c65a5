#include "zoetrope/checkpoint/dcp/flat_range.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace zoetrope {
namespace {

/// The largest box that begins at element `begin` and has at most `count` elements.
DcpBox first_box(const std::vector<int64_t>& shape, int64_t begin, int64_t count) {
  DcpBox box;
  int64_t stride = c10::multiply_integers(shape);
  bool is_found = shape.empty();
  for (const int64_t size : shape) {
    stride /= size;
    const int64_t index = begin / stride % size;
    if (is_found) {
      box.offsets.push_back(0);
      box.sizes.push_back(size);
      continue;
    }
    is_found = begin % stride == 0 && count >= stride;
    box.offsets.push_back(index);
    box.sizes.push_back(is_found ? std::min(size - index, count / stride) : 1);
  }
  return box;
}

}  // namespace

std::vector<DcpBox> boxes_of_range(const std::vector<int64_t>& shape, int64_t begin,
                                   int64_t count) {
  std::vector<DcpBox> boxes;
  const int64_t end = begin + count;
  while (begin < end) {
    boxes.push_back(first_box(shape, begin, end - begin));
    begin += c10::multiply_integers(boxes.back().sizes);
  }
  return boxes;
}

std::vector<DcpBox> boxes_of_shard(const TensorShard& shard) {
  std::vector<DcpBox> boxes = boxes_of_range(shard.shape, shard.begin, shard.values.numel());
  if (!shard.part) return boxes;
  for (DcpBox& box : boxes)
    box.offsets[static_cast<size_t>(shard.part->dimension)] += shard.part->offset;
  return boxes;
}

std::vector<DcpItem> items_of_shard(const DcpPath& path, const TensorShard& shard) {
  std::vector<DcpItem> items;
  int64_t position = 0;
  for (const DcpBox& box : boxes_of_shard(shard)) {
    const int64_t count = c10::multiply_integers(box.sizes);
    DcpItem item{
        dcp_key(path), path, shard.values.narrow(0, position, count).view(box.sizes), {}, {}};
    if (box.sizes != shard.whole_shape()) {
      item.global_shape = shard.whole_shape();
      item.offsets = box.offsets;
    }
    items.push_back(std::move(item));
    position += count;
  }
  return items;
}

}  // namespace zoetrope
