// A config document as JSON with typed scalars, for files that other programs read.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "zoetrope/config/node.h"

namespace zoetrope::config {

/// Maps keep their order; unquoted scalars become booleans, integers or numbers where YAML reads
/// them so.
nlohmann::ordered_json to_json(const Node& node);

}  // namespace zoetrope::config
