// The cleaning of prompts that Wan applies before its tokenizer: ftfy's repairs, HTML unescaping,
// white space. Source: diffusers' WanPipeline (prompt_clean) and ftfy 6.3.
#pragma once

#include <string>
#include <string_view>

namespace zoetrope {

/// The repairs of ftfy.fix_text that matter for prompts: complete HTML references (unless the line
/// holds a `<`), mojibake (see repair_mojibake for its limits), control characters of Windows-1252,
/// Latin ligatures, full-width and half-width forms, curly quotes, line breaks, terminal escapes,
/// control characters. Not done: composition to NFC (tokenizers of the T5 family apply NFKC
/// themselves, so token ids do not depend on it) and ftfy's upper-case entity names. Throws
/// DataError when `text` is not UTF-8.
std::string fix_text(std::string_view text);

/// fix_text, HTML unescaped twice, every run of white space one space, none at the ends.
std::string clean_prompt(std::string_view text);

}  // namespace zoetrope
