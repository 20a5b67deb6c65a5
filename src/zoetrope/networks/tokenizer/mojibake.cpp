#include "zoetrope/networks/tokenizer/mojibake.h"

#include "zoetrope/networks/tokenizer/unicode.h"

namespace zoetrope {
namespace {

bool may_be_mojibake(char32_t c) {
  return c >= 0x80 && windows_1252_byte(c) >= 0x80;
}

// Quotes, dashes, signs: what a writer may put after a word in capitals.
bool ends_words(char32_t c) {
  constexpr std::u32string_view kEnders = U"»«”“’‘‚„›‹…–—™®©°·¿¡\u00A0\u00AD";
  return kEnders.find(c) != std::u32string_view::npos;
}

std::string as_windows_1252(std::u32string_view characters) {
  std::string bytes;
  for (char32_t c : characters) bytes.push_back(static_cast<char>(windows_1252_byte(c)));
  return bytes;
}

// The number of characters at the start of `run` that are one UTF-8 sequence of several bytes, or
// 0.
size_t sequence_length(std::u32string_view run) {
  for (size_t length = 2; length <= 4 && length <= run.size(); ++length) {
    std::u32string decoded;
    if (decode_utf8(as_windows_1252(run.substr(0, length)), &decoded) && decoded.size() == 1)
      return length;
  }
  return 0;
}

bool has_usual_lead(std::u32string_view run) {
  return run.front() == U'Â' || run.front() == U'Ã';
}

// A run that is not mojibake as a whole: only sequences in it that hardly occur otherwise are
// replaced.
std::u32string repair_parts(std::u32string_view run) {
  std::u32string result;
  while (!run.empty()) {
    const size_t length = sequence_length(run);
    if (length > 2 || (length == 2 && has_usual_lead(run))) {
      decode_utf8(as_windows_1252(run.substr(0, length)), &result);
      run.remove_prefix(length);
    } else {
      result.push_back(run.front());
      run.remove_prefix(1);
    }
  }
  return result;
}

// What a run of characters stands for, or the run itself.
std::u32string repair_run(std::u32string_view run, bool after_capital) {
  std::u32string repaired;
  if (!decode_utf8(as_windows_1252(run), &repaired)) return repair_parts(run);
  const bool lone_pair = run.size() == 2;
  if (lone_pair && after_capital && !has_usual_lead(run) && ends_words(run.back()))
    return std::u32string(run);
  return repaired;
}

std::u32string repair_once(std::u32string_view text) {
  std::u32string result;
  while (!text.empty()) {
    size_t length = 0;
    while (length < text.size() && may_be_mojibake(text[length])) ++length;
    if (length == 0) {
      result.push_back(text.front());
      text.remove_prefix(1);
    } else {
      const bool after_capital = !result.empty() && result.back() >= U'A' && result.back() <= U'Z';
      result += repair_run(text.substr(0, length), after_capital);
      text.remove_prefix(length);
    }
  }
  return result;
}

}  // namespace

std::u32string repair_mojibake(std::u32string text) {
  // Every repair shortens the text, so this ends.
  for (;;) {
    std::u32string repaired = repair_once(text);
    if (repaired == text) return text;
    text = std::move(repaired);
  }
}

}  // namespace zoetrope
