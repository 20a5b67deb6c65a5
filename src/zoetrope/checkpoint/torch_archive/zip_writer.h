// Writes a zip archive the way torch.save does: stored records, each starting at a multiple of 64
// bytes of the archive, sizes after the data, zip64 where it is needed. Source: PKWARE's APPNOTE
// and the layout of archives that torch 2.15 writes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "zoetrope/checkpoint/torch_archive/output_file.h"

namespace zoetrope {

class ZipWriter {
 public:
  /// The archive begins at `out`'s present offset. Record names are put under `folder`.
  ZipWriter(OutputFile& out, std::string folder);

  void add(std::string_view name, const void* bytes, uint64_t num_bytes);
  void add(std::string_view name, std::string_view bytes) { add(name, bytes.data(), bytes.size()); }
  /// A number made of the records so far, in decimal.
  std::string content_id() const;
  /// Writes the directory.
  void finish();

 private:
  struct Record {
    std::string name;
    uint64_t header_offset = 0;
    uint64_t num_bytes = 0;
    uint32_t crc32 = 0;
  };

  uint64_t position() const { return out_.offset() - begin_; }
  void write_local_header(const Record& record);
  void write_directory_entry(const Record& record);

  OutputFile& out_;
  std::string folder_;
  uint64_t begin_;
  std::vector<Record> records_;
};

}  // namespace zoetrope
