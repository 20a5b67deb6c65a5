// Where a value of a document is written, for messages.
#pragma once

#include <string>

#include "zoetrope/config/node.h"

namespace zoetrope::config {

/// Of the value at the dotted `path` below `node`, or where there is none of the nearest section
/// above it.
Location location_of(const Node& node, const std::string& path);

}  // namespace zoetrope::config
