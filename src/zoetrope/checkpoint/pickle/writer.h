// Writes values as a Python pickle of protocol 2, which is what torch.save uses: `pickle.load` and
// `torch.load(weights_only=True)` read it.
#pragma once

#include <string>

#include "zoetrope/checkpoint/pickle/value.h"

namespace zoetrope {

/// The pickle of `value`. Strings and names that come up again are written once. Throws
/// CheckpointError for strings of 4 GiB and more.
std::string write_pickle(const PickleValue& value);

}  // namespace zoetrope
