// Bytes as text, the way Python's protocol 2 writes bytes: each byte is the character of that
// number (Latin-1), in UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace zoetrope {

/// Throws CheckpointError when `text` has a character beyond 255 or is not UTF-8.
std::string latin1_of_utf8(std::string_view text);

std::string utf8_of_latin1(std::string_view bytes);

}  // namespace zoetrope
