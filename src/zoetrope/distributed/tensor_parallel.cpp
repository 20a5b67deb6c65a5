#include "zoetrope/distributed/tensor_parallel.h"

#include <ATen/ATen.h>

#include "zoetrope/distributed/linear_map.h"

namespace zoetrope {
namespace {

/// In fp32, sent in x's type.
at::Tensor sum_over(Group& group, const at::Tensor& x) {
  const int64_t count = x.numel();
  const int64_t part_size = (count + group.size() - 1) / group.size();
  const at::Tensor padded =
      at::constant_pad_nd(x.flatten(), {0, part_size * group.size() - count}).contiguous();
  const at::Tensor part = at::empty({part_size}, x.options().dtype(at::kFloat));
  group.reduce_scatter_sum(padded, part).wait();
  const at::Tensor sums = at::empty_like(padded);
  group.all_gather(part.to(x.scalar_type()), sums).wait();
  return sums.narrow(0, 0, count).view(x.sizes());
}

/// The dimension that is split, or -1.
int64_t split_dimension(at::IntArrayRef whole, at::IntArrayRef part, int64_t ranks) {
  TORCH_CHECK(whole.size() == part.size(), "tensor parallelism: ", part, " is no part of ", whole);
  int64_t split = -1;
  for (size_t i = 0; i < whole.size(); ++i) {
    if (whole[i] == part[i]) continue;
    TORCH_CHECK(split < 0 && whole[i] == ranks * part[i], "tensor parallelism: ", part,
                " is not a part in ", ranks, " of ", whole);
    split = static_cast<int64_t>(i);
  }
  return split;
}

TensorMap sum_map(const GroupPointer& group) {
  return [group](at::TensorList x) { return std::vector<at::Tensor>{sum_over(*group, x[0])}; };
}

std::vector<at::Tensor> unchanged(at::TensorList x) {
  return {x[0].detach()};
}

}  // namespace

at::Tensor enter_split_layers(const GroupPointer& group, const at::Tensor& x) {
  return num_ranks(group) == 1 ? x : apply_linear_map(x, unchanged, sum_map(group))[0];
}

at::Tensor leave_split_layers(const GroupPointer& group, const at::Tensor& x) {
  return num_ranks(group) == 1 ? x : apply_linear_map(x, sum_map(group), unchanged)[0];
}

at::Tensor sum_within_split_layers(const GroupPointer& group, const at::Tensor& x) {
  return num_ranks(group) == 1 ? x : apply_linear_map(x, sum_map(group), sum_map(group))[0];
}

at::Tensor part_of(const GroupPointer& group, const at::Tensor& whole, at::IntArrayRef part_shape) {
  const int64_t dimension = split_dimension(whole.sizes(), part_shape, num_ranks(group));
  if (dimension < 0) return whole;
  const int64_t size = part_shape[static_cast<size_t>(dimension)];
  return whole.narrow(dimension, group->index() * size, size);
}

at::Tensor whole_of(const GroupPointer& group, const at::Tensor& part,
                    at::IntArrayRef whole_shape) {
  const int64_t dimension = split_dimension(whole_shape, part.sizes(), num_ranks(group));
  if (dimension < 0) return part;
  const at::Tensor own = part.movedim(dimension, 0).contiguous();
  std::vector<int64_t> shape = own.sizes().vec();
  shape[0] *= group->size();
  const at::Tensor all = at::empty(shape, own.options());
  group->all_gather(own.flatten(), all.flatten()).wait();
  return all.movedim(0, dimension);
}

}  // namespace zoetrope
