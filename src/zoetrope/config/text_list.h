// Lists that FastVideo also takes as one text, `a,b`.
#pragma once

#include "zoetrope/config/node.h"

namespace zoetrope::config {

/// The comma-separated parts of a scalar, without surrounding spaces and empty parts, as a list of
/// unquoted scalars.
Node split_text_list(const Node& scalar);

}  // namespace zoetrope::config
