// Any text as a config: a ConfigError, or a tree that survives being written and read.
#include "zoetrope/base/error.h"
#include "zoetrope/config/node.h"

namespace config = zoetrope::config;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string written;
  try {
    written = config::write_yaml(config::parse_yaml(text, "fuzz"));
  } catch (const zoetrope::ConfigError&) {
    return 0;
  }
  if (config::write_yaml(config::parse_yaml(written, "written")) != written) __builtin_trap();
  return 0;
}
