// HTML character references. Named ones: the 252 of HTML 4 and `apos`, and the upper-case forms
// that browsers know; the further 1900 names of HTML 5 are left as they are.
#pragma once

#include <string>
#include <string_view>

namespace zoetrope {

/// Replaces references as browsers do: also without semicolon where HTML allows it (`&copy 2024`,
/// `&notit;` -> `¬it;`), invalid numbers become U+FFFD or nothing. As Python's `html.unescape`.
std::u32string unescape_html(std::u32string_view text);

/// Replaces only references that are complete (`&name;`, `&#1234;`) and known, as ftfy does.
std::u32string unescape_complete_html(std::u32string_view text);

}  // namespace zoetrope
