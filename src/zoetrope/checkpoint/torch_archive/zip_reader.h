// Finds the records of a zip archive in memory: any that are stored or deflated, and those of
// torch.save (stored, in one folder) by name. No comment, no encryption. Every offset is checked
// against the archive's size.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace zoetrope {

/// A record as it lies in the archive.
struct ZipRecord {
  std::string_view name;
  uint16_t method = 0;      ///< of compression, see zip_format.h
  std::string_view stored;  ///< bytes in the archive
  uint64_t num_bytes = 0;   ///< when unpacked
};

/// In the order of the archive's directory. Throws CheckpointError when it is damaged or truncated.
std::vector<ZipRecord> list_zip_records(std::string_view archive);

/// The bytes of a record. Throws CheckpointError when it unpacks to another number of bytes, to
/// more than `max_bytes`, or is compressed otherwise than by deflate.
std::string unpack_zip_record(const ZipRecord& record, uint64_t max_bytes = uint64_t{1} << 30);

class ZipReader {
 public:
  /// `where` begins each message. Throws CheckpointError when the archive is damaged, truncated or
  /// holds compressed records.
  ZipReader(std::string_view archive, const std::string& where);

  /// The bytes of a record, by its name below the archive's folder (`data.pkl`); null when there
  /// is none.
  const std::string_view* find(const std::string& name) const;

 private:
  std::map<std::string, std::string_view> records_;
};

}  // namespace zoetrope
