// What a plain YAML scalar means: YAML 1.2's core rules, and `1e-5` (no dot) as a number as people
// write it. Knows only text; fields decide which type they want.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zoetrope::config {

/// true or false in one of YAML's three spellings (`true`, `True`, `TRUE`).
std::optional<bool> parse_bool(std::string_view text);
/// A decimal or 0x/0o integer, or a number whose value is integral (`4e3`, `2.0`), that fits 64
/// bits.
std::optional<int64_t> parse_integer(std::string_view text);
/// A decimal or 0x/0o number, `.inf` or `-.inf`. Never NaN.
std::optional<double> parse_number(std::string_view text);
/// Whether the unquoted text would be read as null.
bool is_null_text(std::string_view text);
/// Shortest text that reads back as exactly `value`; always with a dot, so that YAML 1.1 readers
/// see a number too.
std::string format_number(double value);

}  // namespace zoetrope::config
