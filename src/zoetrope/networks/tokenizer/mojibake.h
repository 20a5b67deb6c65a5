// Repair of UTF-8 text that was read as Latin-1 or Windows-1252 (`cafÃ©` -> `café`), possibly
// several times over.
#pragma once

#include <string>
#include <string_view>

namespace zoetrope {

/// Replaces runs of non-ASCII characters that are, byte for byte in Windows-1252, well-formed
/// UTF-8, until none is left. A lone two-byte sequence is only replaced where it is unlikely to be
/// meant: after `Â` or `Ã`, or when its second character is not one that ends words (`É»` stays).
/// Not repaired, unlike in ftfy: text whose no-break spaces became spaces, text with lost bytes,
/// and mix-ups with other encodings than these two.
std::u32string repair_mojibake(std::u32string text);

}  // namespace zoetrope
