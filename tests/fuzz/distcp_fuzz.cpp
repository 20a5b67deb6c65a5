// Any bytes as an item of a .distcp file, and as a .metadata file.
#include "fuzz/fuzz_input.h"
#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/dcp/dcp_metadata.h"
#include "zoetrope/checkpoint/torch_archive/torch_archive.h"

namespace {

void read_archive(const zoetrope::fuzz::InputFile& file, size_t size) {
  try {
    const zoetrope::TorchArchive archive(zoetrope::MappedFile(file.path()), 0, size, "fuzz");
    zoetrope::fuzz::touch(archive.tensor());
  } catch (const zoetrope::CheckpointError&) {
    return;
  }
}

void read_metadata(std::string_view bytes) {
  try {
    for (const auto& [key, entry] : zoetrope::parse_dcp_metadata(bytes, "fuzz")) {
      std::vector<zoetrope::DcpBox> boxes;
      for (const zoetrope::DcpChunk& chunk : entry.chunks) boxes.push_back(chunk.box);
      if (entry.is_tensor) zoetrope::check_boxes_cover(entry.shape, boxes);
    }
  } catch (const zoetrope::CheckpointError&) {
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint8_t kPickle = 0x80;
  if (size > 0 && data[0] == kPickle)
    read_metadata({reinterpret_cast<const char*>(data), size});
  else
    read_archive(zoetrope::fuzz::InputFile(data, size), size);
  return 0;
}
