// UTF-8 to code points and back, and the classes of code points that text cleaning asks for.
#pragma once

#include <string>
#include <string_view>

namespace zoetrope {

/// Throws DataError when `utf8` is not well-formed UTF-8, naming the byte offset.
std::u32string to_code_points(std::string_view utf8);

/// Whether `bytes` is well-formed UTF-8; if so and `code_points` is given, appends them there.
bool decode_utf8(std::string_view bytes, std::u32string* code_points);

void append_utf8(std::string& utf8, char32_t code_point);
std::string to_utf8(std::u32string_view code_points);

/// Unicode white space, as Python's `str.isspace`.
bool is_white_space(char32_t code_point);

/// The character of Windows-1252 at `byte`; the five bytes without one give the control character
/// of that value.
char32_t windows_1252_character(unsigned char byte);
/// The byte of `code_point` in Windows-1252 (the inverse of windows_1252_character, and control
/// characters U+0080 to U+009F as their own value), or -1.
int windows_1252_byte(char32_t code_point);

}  // namespace zoetrope
