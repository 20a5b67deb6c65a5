#include "zoetrope/networks/tokenizer/mojibake.h"

#include "zoetrope/networks/tokenizer/unicode.h"

namespace zoetrope {
namespace {

bool may_be_mojibake(char32_t c) {
  return c >= 0x80 && windows_1252_byte(c) >= 0x80;
}

// Quotes, dashes, signs: what a writer may put after a letter.
bool ends_words(char32_t c) {
  constexpr std::u32string_view kEnders = U"»«”“’‘‚„›‹…–—™®©°·¿¡\u00A0\u00AD";
  return kEnders.find(c) != std::u32string_view::npos;
}

// What a run of characters stands for, or the run itself.
std::u32string repair_run(std::u32string_view run) {
  std::string bytes;
  for (char32_t c : run) bytes.push_back(static_cast<char>(windows_1252_byte(c)));
  std::u32string repaired;
  if (!decode_utf8(bytes, &repaired)) return std::u32string(run);
  const bool lone_pair = run.size() == 2;
  const bool usual_lead = run.front() == U'Â' || run.front() == U'Ã';
  if (lone_pair && !usual_lead && ends_words(run.back())) return std::u32string(run);
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
      result += repair_run(text.substr(0, length));
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
