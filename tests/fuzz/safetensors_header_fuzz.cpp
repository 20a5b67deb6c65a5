// Any bytes as a safetensors file: a CheckpointError, or tensors that lie within it.
#include "fuzz/fuzz_input.h"
#include "zoetrope/base/error.h"
#include "zoetrope/tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const zoetrope::fuzz::InputFile input(data, size);
  try {
    const zoetrope::SafetensorsFile file(input.path());
    for (const auto& [name, entry] : file.entries()) zoetrope::fuzz::touch(file.tensor(name));
  } catch (const zoetrope::CheckpointError&) {
    return 0;
  }
  return 0;
}
