// Tensor parallelism: the ranks of a group have the same activations and each a part of every
// layer's weights: of the first layer of a pair the rows (output features), of the second the
// columns (input features), so that what lies between is split and one sum ends the pair. Source:
// Megatron-LM (Shoeybi et al., 1909.08053). A null group stands for a group of one.
#pragma once

#include <memory>

#include "zoetrope/distributed/group.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

using GroupPointer = std::shared_ptr<Group>;

inline int64_t num_ranks(const GroupPointer& group) {
  return group ? group->size() : 1;
}

/// x, the same on every rank, for layers of which each rank has a part: its gradient is the sum of
/// the ranks' parts.
at::Tensor enter_split_layers(const GroupPointer& group, const at::Tensor& x);
/// The sum of the ranks' x, with which all go on alike: each takes the whole gradient.
at::Tensor leave_split_layers(const GroupPointer& group, const at::Tensor& x);
/// The sum of the ranks' x, with which each goes on in its own way: the gradients are summed, too.
at::Tensor sum_within_split_layers(const GroupPointer& group, const at::Tensor& x);

/// This rank's part, of the shape `part_shape`, of a whole tensor: a range of the dimension whose
/// size differs; `whole` itself where none does.
at::Tensor part_of(const GroupPointer& group, const at::Tensor& whole, at::IntArrayRef part_shape);
/// The reverse. All ranks must call it.
at::Tensor whole_of(const GroupPointer& group, const at::Tensor& part, at::IntArrayRef whole_shape);

}  // namespace zoetrope
