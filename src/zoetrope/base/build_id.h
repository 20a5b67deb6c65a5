// Which build of the program runs: the linker's hash over all of it.
#pragma once

#include <string>

namespace zoetrope {

/// The build id of this program in hexadecimal digits; empty when it was linked without one.
std::string build_id();

}  // namespace zoetrope
