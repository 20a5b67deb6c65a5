// Any text as a config: a ConfigError, or a tree that can be written again.
#include "zoetrope/base/error.h"
#include "zoetrope/config/node.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    zoetrope::config::write_yaml(zoetrope::config::parse_yaml(text, "fuzz"));
  } catch (const zoetrope::ConfigError&) {
    return 0;
  }
  return 0;
}
