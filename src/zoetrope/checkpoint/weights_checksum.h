// Whether two networks have the same weights, without comparing them.
#pragma once

#include <string>

#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {

/// Checksum over names, shapes and values, rounded to bf16 so that it does not depend on the type
/// in which weights are held. Reads every value once.
std::string weights_checksum(const NamedTensors& weights);

}  // namespace zoetrope
