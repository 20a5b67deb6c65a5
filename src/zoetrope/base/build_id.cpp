#include "zoetrope/base/build_id.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <elf.h>
#include <fmt/ranges.h>
#include <link.h>

namespace zoetrope {
namespace {

size_t round_up_to_word(size_t size) {
  return (size + 3) / 4 * 4;
}

/// The id in a segment of notes: header, name and description, each padded to four bytes.
std::string find_in_notes(std::string_view notes) {
  ElfW(Nhdr) header;
  while (notes.size() >= sizeof(header)) {
    std::memcpy(&header, notes.data(), sizeof(header));
    const size_t name_at = sizeof(header);
    const size_t text_at = name_at + round_up_to_word(header.n_namesz);
    const size_t end = text_at + round_up_to_word(header.n_descsz);
    if (end > notes.size()) return "";
    if (header.n_type == NT_GNU_BUILD_ID &&
        notes.substr(name_at, header.n_namesz) == std::string_view("GNU\0", 4)) {
      std::string digits;
      for (const char byte : notes.substr(text_at, header.n_descsz))
        digits += fmt::format("{:02x}", static_cast<uint8_t>(byte));
      return digits;
    }
    notes.remove_prefix(end);
  }
  return "";
}

/// Called for each loaded object; the first is the program itself.
int visit_object(dl_phdr_info* object, size_t /*size*/, void* id) {
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    // Where the loader has put the segment is known as a number only.
    const auto* notes =
        reinterpret_cast<const char*>(object->dlpi_addr + segment.p_vaddr);  // NOLINT(*-int-to-ptr)
    std::string found = find_in_notes({notes, segment.p_memsz});
    if (found.empty()) continue;
    *static_cast<std::string*>(id) = std::move(found);
    break;
  }
  return 1;
}

}  // namespace

std::string build_id() {
  std::string id;
  dl_iterate_phdr(visit_object, &id);
  return id;
}

}  // namespace zoetrope
