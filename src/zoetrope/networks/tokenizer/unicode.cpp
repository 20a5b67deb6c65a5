#include "zoetrope/networks/tokenizer/unicode.h"

#include <algorithm>
#include <array>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr std::array<char32_t, 32> kWindows1252High = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178};

// Length of the sequence that starts with `lead`, 0 for a byte that cannot start one.
size_t sequence_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// The code point at the start of `bytes` and its length; length 0 when malformed.
std::pair<char32_t, size_t> decode_one(std::string_view bytes) {
  const auto lead = static_cast<unsigned char>(bytes.front());
  const size_t length = sequence_length(lead);
  if (length == 0 || length > bytes.size()) return {0, 0};
  if (length == 1) return {lead, 1};
  char32_t code_point = lead & (0x7FU >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if ((byte & 0xC0U) != 0x80U) return {0, 0};
    code_point = (code_point << 6U) | (byte & 0x3FU);
  }
  constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
  if (code_point < kLeast[length] || code_point > 0x10FFFF || surrogate) return {0, 0};
  return {code_point, length};
}

}  // namespace

bool decode_utf8(std::string_view bytes, std::u32string* code_points) {
  std::u32string decoded;
  while (!bytes.empty()) {
    const auto [code_point, length] = decode_one(bytes);
    if (length == 0) return false;
    decoded.push_back(code_point);
    bytes.remove_prefix(length);
  }
  if (code_points != nullptr) *code_points += decoded;
  return true;
}

std::u32string to_code_points(std::string_view utf8) {
  std::u32string code_points;
  for (size_t offset = 0; offset < utf8.size();) {
    const auto [code_point, length] = decode_one(utf8.substr(offset));
    if (length == 0)
      fail<DataError>("text: must be UTF-8, but byte {} is not part of a character", offset);
    code_points.push_back(code_point);
    offset += length;
  }
  return code_points;
}

void append_utf8(std::string& utf8, char32_t code_point) {
  const auto push = [&](char32_t byte) { utf8.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    push(code_point);
  } else if (code_point < 0x800) {
    push(0xC0U | (code_point >> 6U));
    push(0x80U | (code_point & 0x3FU));
  } else if (code_point < 0x10000) {
    push(0xE0U | (code_point >> 12U));
    push(0x80U | ((code_point >> 6U) & 0x3FU));
    push(0x80U | (code_point & 0x3FU));
  } else {
    push(0xF0U | (code_point >> 18U));
    push(0x80U | ((code_point >> 12U) & 0x3FU));
    push(0x80U | ((code_point >> 6U) & 0x3FU));
    push(0x80U | (code_point & 0x3FU));
  }
}

std::string to_utf8(std::u32string_view code_points) {
  std::string utf8;
  for (char32_t code_point : code_points) append_utf8(utf8, code_point);
  return utf8;
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

char32_t windows_1252_character(unsigned char byte) {
  return byte >= 0x80 && byte < 0xA0 ? kWindows1252High[byte - 0x80] : byte;
}

int windows_1252_byte(char32_t code_point) {
  if (code_point <= 0xFF) return static_cast<int>(code_point);
  const auto* const found = std::find(kWindows1252High.begin(), kWindows1252High.end(), code_point);
  return found == kWindows1252High.end()
             ? -1
             : static_cast<int>(0x80 + (found - kWindows1252High.begin()));
}

}  // namespace zoetrope
