// The L2 norm of a network's gradients, of the whole and per module, and the factor that clips it.
// Sums of squares are accumulated in double over short blocks. Source: Pascanu et al., "On the
// difficulty of training RNNs" (2013).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "zoetrope/tensor/parameter_store.h"

namespace zoetrope {

/// The norm of all gradients, those on other ranks included (which must all call this); the sums
/// are copied from the device. The same bits for any number of shards. Non-finite when a gradient
/// is.
double global_gradient_norm(const ParameterStore& parameters);

/// The norm of each group (`blocks.0`, ..., `root`), in order; otherwise as global_gradient_norm.
std::vector<std::pair<std::string, double>> module_gradient_norms(const ParameterStore& parameters);

/// min(1, max_norm / (norm + 1e-6)), the factor for AdamW::step.
double clip_coefficient(double norm, double max_norm);

}  // namespace zoetrope
