#include "zoetrope/base/log.h"

#include <cstdio>
#include <string>

namespace zoetrope {

void log_line(std::string_view message) {
  std::string line(message);
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace zoetrope
