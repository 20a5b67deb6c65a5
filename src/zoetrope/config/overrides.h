// Command-line overrides of a config, in FastVideo's syntax: `--section.key VALUE` or
// `--section.key=VALUE`. Knows no schema: what an override names is checked when the config is
// read.
#pragma once

#include <string>
#include <vector>

#include "zoetrope/config/node.h"

namespace zoetrope::config {

/// The Node that the text of an override stands for: `true`/`false`, `none`/`null` (any case),
/// numbers, lists as
/// `[a, b]`; everything else is text, as it is.
Node parse_override_value(const std::string& text, const Location& location);

/// One `--section.key VALUE` of a command line.
struct Override {
  std::string key;
  std::string value;
  Location location;
};

/// Throws ConfigError for an argument that is no `--dotted.key` and for a missing value.
std::vector<Override> parse_overrides(const std::vector<std::string>& arguments);

/// Sets each override in `document`, in order; sections that are missing or null are made. Throws
/// ConfigError for an empty key and for a key below something that is no map.
void apply_overrides(Node& document, const std::vector<Override>& overrides);
/// The same with unparsed arguments.
void apply_overrides(Node& document, const std::vector<std::string>& arguments);

}  // namespace zoetrope::config
