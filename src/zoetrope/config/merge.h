// A section laid over another one: how a stage of a config differs from what all stages share.
// Knows no schema.
#pragma once

#include "zoetrope/config/node.h"

namespace zoetrope::config {

/// `overlay` on top of `base`: maps are merged by key, anything else replaces what was there, and
/// null takes a key away. A map that names another `_target_` than the base replaces it wholly,
/// since the keys of one target mean nothing to another. Every value keeps its location.
Node merge(const Node& base, const Node& overlay);

}  // namespace zoetrope::config
