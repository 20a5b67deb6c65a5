// What goes into a checkpoint of torch.distributed.checkpoint (DCP): values and tensors, or a
// rank's part of a tensor, each under a key. Source: torch/distributed/checkpoint/metadata.py of
// PyTorch 2.15.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

#include "zoetrope/checkpoint/pickle/value.h"

namespace zoetrope {

/// How the nested state dict was flattened: dict keys and list positions from its root to the
/// value. The item's key is these joined by dots.
using DcpPath = std::vector<std::variant<std::string, int64_t>>;

/// `a.b.0`.
std::string dcp_key(const DcpPath& path);

struct DcpItem {
  std::string key;
  DcpPath path;
  std::variant<at::Tensor, PickleValue> value;  ///< tensors of any device and strides
  // Of a tensor that is a part of a larger one: that one's shape, and where in it the part begins.
  // Both empty: the tensor is whole.
  std::vector<int64_t> global_shape;
  std::vector<int64_t> offsets;
};

/// A part of a tensor: all indices i with offsets <= i < offsets + sizes.
struct DcpBox {
  std::vector<int64_t> offsets;
  std::vector<int64_t> sizes;
};

/// Checks that `boxes` lie within `shape`, do not overlap and leave nothing out. Empty boxes are
/// allowed anywhere, as PyTorch writes them for ranks without a part. Throws CheckpointError.
void check_boxes_cover(const std::vector<int64_t>& shape, const std::vector<DcpBox>& boxes);

}  // namespace zoetrope
