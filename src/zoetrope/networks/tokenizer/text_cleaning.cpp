#include "zoetrope/networks/tokenizer/text_cleaning.h"

#include <algorithm>
#include <array>

#include "zoetrope/networks/tokenizer/html_unescape.h"
#include "zoetrope/networks/tokenizer/mojibake.h"
#include "zoetrope/networks/tokenizer/unicode.h"

namespace zoetrope {
namespace {

using CodePoints = std::u32string;

struct Ligature {
  char32_t character;
  const char32_t* letters;
};

constexpr std::array<Ligature, 22> kLigatures = {{
    {0x0132, U"IJ"}, {0x0133, U"ij"}, {0x0149, U"ʼn"}, {0x01F1, U"DZ"},  {0x01F2, U"Dz"},
    {0x01F3, U"dz"}, {0x01C4, U"DŽ"}, {0x01C5, U"Dž"}, {0x01C6, U"dž"},  {0x01C7, U"LJ"},
    {0x01C8, U"Lj"}, {0x01C9, U"lj"}, {0x01CA, U"NJ"}, {0x01CB, U"Nj"},  {0x01CC, U"nj"},
    {0xFB00, U"ff"}, {0xFB01, U"fi"}, {0xFB02, U"fl"}, {0xFB03, U"ffi"}, {0xFB04, U"ffl"},
    {0xFB05, U"ſt"}, {0xFB06, U"st"},
}};

// U+FF61 to U+FF9F.
constexpr std::u32string_view kHalfWidthKatakana =
    U"。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホ"
    U"マミムメモヤユヨラリルレロワン\u3099\u309A";
// U+FFE0 to U+FFE6; U+FFE3 has no single equivalent.
constexpr std::u32string_view kFullWidthSigns = U"¢£¬\uFFE3¦¥₩";

char32_t with_standard_width(char32_t c) {
  if (c == 0x3000) return U' ';
  if (c >= 0xFF01 && c <= 0xFF5E) return c - 0xFEE0;
  if (c == 0xFF5F || c == 0xFF60) return c - 0xFF5F + 0x2985;
  if (c >= 0xFF61 && c <= 0xFF9F) return kHalfWidthKatakana[c - 0xFF61];
  if (c >= 0xFFE0 && c <= 0xFFE6) return kFullWidthSigns[c - 0xFFE0];
  return c;
}

char32_t without_curl(char32_t c) {
  if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) return U'\'';
  return c >= 0x201C && c <= 0x201F ? U'"' : c;
}

bool is_removed_control(char32_t c) {
  return c < 0x09 || c == 0x0B || (c >= 0x0E && c < 0x20) || c == 0x7F ||
         (c >= 0x206A && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

// Characters one by one: controls of Windows-1252, ligatures, widths, quotes.
CodePoints fix_characters(const CodePoints& text) {
  CodePoints result;
  for (char32_t c : text) {
    if (c >= 0x80 && c <= 0x9F) c = windows_1252_character(static_cast<unsigned char>(c));
    const auto* const ligature =
        std::find_if(kLigatures.begin(), kLigatures.end(),
                     [c](const Ligature& entry) { return entry.character == c; });
    if (ligature != kLigatures.end()) {
      result += ligature->letters;
    } else {
      result.push_back(without_curl(with_standard_width(c)));
    }
  }
  return result;
}

CodePoints fix_line_breaks(const CodePoints& text) {
  CodePoints result;
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == U'\r' && i + 1 < text.size() && text[i + 1] == U'\n') continue;
    result.push_back(c == U'\r' || c == 0x2028 || c == 0x2029 || c == 0x85 ? U'\n' : c);
  }
  return result;
}

// Length of a terminal escape (ESC [ numbers letter) at the start of `text`, or 0.
size_t terminal_escape_length(std::u32string_view text) {
  if (text.size() < 3 || text[0] != 0x1B || text[1] != U'[') return 0;
  size_t end = 2;
  while (end < text.size() && ((text[end] >= U'0' && text[end] <= U'9') || text[end] == U';'))
    ++end;
  if (end == text.size()) return 0;
  const char32_t lower = text[end] | 0x20U;
  return lower >= U'a' && lower <= U'z' ? end + 1 : 0;
}

CodePoints remove_controls(std::u32string_view text) {
  CodePoints result;
  while (!text.empty()) {
    const size_t escape = terminal_escape_length(text);
    if (escape == 0 && !is_removed_control(text.front())) result.push_back(text.front());
    text.remove_prefix(std::max<size_t>(escape, 1));
  }
  return result;
}

CodePoints fix_line(CodePoints line) {
  const bool unescapes = line.find(U'<') == CodePoints::npos;
  for (;;) {
    const CodePoints before = line;
    if (unescapes) line = unescape_complete_html(line);
    line = remove_controls(fix_line_breaks(fix_characters(repair_mojibake(line))));
    if (line == before) return line;
  }
}

CodePoints fix_lines(const CodePoints& text) {
  CodePoints result;
  for (size_t start = 0; start < text.size();) {
    const size_t newline = text.find(U'\n', start);
    const size_t end = newline == CodePoints::npos ? text.size() : newline + 1;
    result += fix_line(text.substr(start, end - start));
    start = end;
  }
  return result;
}

CodePoints collapse_white_space(const CodePoints& text) {
  CodePoints result;
  for (char32_t c : text) {
    if (!is_white_space(c)) {
      result.push_back(c);
    } else if (!result.empty() && result.back() != U' ') {
      result.push_back(U' ');
    }
  }
  if (!result.empty() && result.back() == U' ') result.pop_back();
  return result;
}

}  // namespace

std::string fix_text(std::string_view text) {
  return to_utf8(fix_lines(to_code_points(text)));
}

std::string clean_prompt(std::string_view text) {
  return to_utf8(
      collapse_white_space(unescape_html(unescape_html(fix_lines(to_code_points(text))))));
}

}  // namespace zoetrope
