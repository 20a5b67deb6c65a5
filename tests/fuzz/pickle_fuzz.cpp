// Any bytes as a pickle: a CheckpointError, or a value that survives being written and read.
#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/pickle/reader.h"
#include "zoetrope/checkpoint/pickle/writer.h"

namespace {

const zoetrope::PickleGlobals kGlobals = {"torch._utils._rebuild_tensor_v2",
                                          "torch.FloatStorage",
                                          "collections.OrderedDict",
                                          "_codecs.encode",
                                          "__builtin__.set",
                                          "__builtin__.bytes",
                                          "builtins.set",
                                          "builtins.bytes",
                                          "torch.Size"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  zoetrope::PickleLimits limits;
  limits.num_values = 20'000;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  zoetrope::PickleValue value;
  try {
    value = zoetrope::read_pickle(bytes, "fuzz", kGlobals, limits);
  } catch (const zoetrope::CheckpointError&) {
    return 0;
  }
  const std::string written = zoetrope::write_pickle(value);
  const auto again = zoetrope::read_pickle(written, "written", kGlobals);
  if (zoetrope::write_pickle(again) != written) __builtin_trap();
  return 0;
}
