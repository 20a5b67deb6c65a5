// Repair of UTF-8 text that was read as Latin-1 or Windows-1252 (`cafÃ©` -> `café`), possibly
// several times over.
#pragma once

#include <string>
#include <string_view>

namespace zoetrope {

/// Replaces runs of non-ASCII characters that are, byte for byte in Windows-1252, well-formed
/// UTF-8, and in other runs the sequences that begin with `Â` or `Ã` or are three or four bytes
/// long; until none is left. Two characters after a capital letter stay when the second is one that
/// ends words (`CITÉ»`). Not repaired, unlike in ftfy: text whose no-break spaces became spaces,
/// text with lost bytes, and mix-ups with other encodings than these two.
std::u32string repair_mojibake(std::u32string text);

}  // namespace zoetrope
