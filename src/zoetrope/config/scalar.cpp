#include "zoetrope/config/scalar.h"

#include <charconv>
#include <cmath>
#include <system_error>

#include <fmt/format.h>

namespace zoetrope::config {
namespace {

std::optional<int64_t> parse_digits(std::string_view text, int base) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view without_plus(std::string_view text) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
  return plus ? text.substr(1) : text;
}

std::optional<int64_t> parse_plain_integer(std::string_view text) {
  if (text.starts_with("0x")) return parse_digits(text.substr(2), 16);
  if (text.starts_with("0o")) return parse_digits(text.substr(2), 8);
  return parse_digits(without_plus(text), 10);
}

}  // namespace

std::optional<bool> parse_bool(std::string_view text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  return std::nullopt;
}

std::optional<int64_t> parse_integer(std::string_view text) {
  if (const auto value = parse_plain_integer(text)) return value;
  const auto number = parse_number(text);
  // 2^63 is the first double that no longer fits; below 2^53 every integral double is exact.
  constexpr double kLimit = 9223372036854775808.0;
  if (!number || !std::isfinite(*number) || std::trunc(*number) != *number) return std::nullopt;
  if (*number < -kLimit || *number >= kLimit) return std::nullopt;
  return static_cast<int64_t>(*number);
}

std::optional<double> parse_number(std::string_view text) {
  if (const auto value = parse_plain_integer(text)) return static_cast<double>(*value);
  if (text == ".inf" || text == "+.inf" || text == ".Inf") return HUGE_VAL;
  if (text == "-.inf" || text == "-.Inf") return -HUGE_VAL;
  const std::string_view digits = without_plus(text);
  // from_chars also takes `inf` and `nan`, which are words in YAML.
  if (digits.find_first_not_of("0123456789+-.eE") != std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

bool is_null_text(std::string_view text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

std::string format_number(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value < 0 ? "-.inf" : ".inf";
  std::string text = fmt::format("{}", value);
  if (text.find('.') != std::string::npos) return text;
  const size_t exponent = text.find('e');
  if (exponent == std::string::npos) return text + ".0";
  return text.insert(exponent, ".0");
}

}  // namespace zoetrope::config
