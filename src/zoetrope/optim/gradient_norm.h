// The L2 norm of a network's gradients, of the whole and per module, and the factor that clips it.
// Sums of squares are accumulated in double over short blocks. Source: Pascanu et al., "On the
// difficulty of training RNNs" (2013).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "zoetrope/tensor/parameter_store.h"

namespace zoetrope {

/// Sum of squares of each group's gradients: fp64 [num_groups] on the parameters' device, without
/// waiting for the device. Non-finite gradients give a non-finite sum.
at::Tensor gradient_square_sums(const ParameterStore& parameters);

/// The norm of all gradients; one value is copied from the device. Non-finite when a gradient is.
double global_gradient_norm(const ParameterStore& parameters);

/// The norm of each group (`blocks.0`, ..., `root`), in order.
std::vector<std::pair<std::string, double>> module_gradient_norms(const ParameterStore& parameters);

/// min(1, max_norm / (norm + 1e-6)), the factor for AdamW::step.
double clip_coefficient(double norm, double max_norm);

}  // namespace zoetrope
