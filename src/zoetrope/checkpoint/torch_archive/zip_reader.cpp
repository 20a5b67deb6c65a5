#include "zoetrope/checkpoint/torch_archive/zip_reader.h"

#include <cstdint>
#include <cstring>
#include <new>

#include <zlib.h>

#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/torch_archive/zip_format.h"

namespace zoetrope {
namespace {

// A place in the archive; every read is checked.
class Cursor {
 public:
  Cursor(std::string_view bytes, uint64_t offset) : bytes_(bytes), offset_(offset) {}

  template <class Number>
  Number take() {
    Number number;
    std::memcpy(&number, take_bytes(sizeof(Number)).data(), sizeof(Number));
    return number;
  }
  std::string_view take_bytes(uint64_t count) {
    if (offset_ > bytes_.size() || count > bytes_.size() - offset_)
      fail<CheckpointError>("needs bytes [{}, +{}), but has {}; it is truncated or damaged",
                            offset_, count, bytes_.size());
    offset_ += count;
    return bytes_.substr(offset_ - count, count);
  }
  void skip(uint64_t count) { take_bytes(count); }
  void expect(uint32_t signature, const char* what) {
    const auto found = take<uint32_t>();
    if (found != signature)
      fail<CheckpointError>("must have {} at byte {}, but has 0x{:08x}; it is truncated or damaged",
                            what, offset_ - sizeof(found), found);
  }
  uint64_t left() const { return bytes_.size() - offset_; }

 private:
  std::string_view bytes_;
  uint64_t offset_;
};

struct Directory {
  uint64_t offset = 0;
  uint64_t num_records = 0;
};

Directory find_directory(std::string_view archive) {
  if (archive.size() < zip::kEndBytes)
    fail<CheckpointError>("must end with a zip directory of {} bytes, but has {}", zip::kEndBytes,
                          archive.size());
  const uint64_t end_offset = archive.size() - zip::kEndBytes;
  Cursor end(archive, end_offset);
  end.expect(zip::kEnd, "the end of a zip directory");
  end.skip(6);
  const auto num_records = end.take<uint16_t>();
  end.skip(4);
  const auto offset = end.take<uint32_t>();
  if (num_records != zip::kIn64Short && offset != zip::kIn64) return {offset, num_records};
  if (end_offset < zip::kZip64LocatorBytes)
    fail<CheckpointError>("must have a zip64 directory, but has not");
  Cursor locator(archive, end_offset - zip::kZip64LocatorBytes);
  locator.expect(zip::kZip64Locator, "a zip64 locator");
  locator.skip(4);
  Cursor wide(archive, locator.take<uint64_t>());
  wide.expect(zip::kZip64End, "the end of a zip64 directory");
  wide.skip(28);
  const auto wide_count = wide.take<uint64_t>();
  wide.skip(8);
  return {wide.take<uint64_t>(), wide_count};
}

// Replaces the numbers that say "see the zip64 field", in the order that the format gives.
void read_zip64(std::string_view extra, uint64_t& num_bytes, uint64_t& stored_bytes,
                uint64_t& header_offset) {
  Cursor fields(extra, 0);
  while (fields.left() >= 4) {
    const auto kind = fields.take<uint16_t>();
    const std::string_view field = fields.take_bytes(fields.take<uint16_t>());
    if (kind != zip::kZip64Extra) continue;
    Cursor numbers(field, 0);
    if (num_bytes == zip::kIn64) num_bytes = numbers.take<uint64_t>();
    if (stored_bytes == zip::kIn64) stored_bytes = numbers.take<uint64_t>();
    if (header_offset == zip::kIn64) header_offset = numbers.take<uint64_t>();
    return;
  }
}

std::string_view record_bytes(std::string_view archive, uint64_t header_offset,
                              uint64_t num_bytes) {
  Cursor header(archive, header_offset);
  header.expect(zip::kLocalHeader, "a record");
  header.skip(22);
  const auto name_bytes = header.take<uint16_t>();
  const auto extra_bytes = header.take<uint16_t>();
  header.skip(uint64_t{name_bytes} + extra_bytes);
  return header.take_bytes(num_bytes);
}

ZipRecord read_entry(std::string_view archive, Cursor& directory) {
  directory.expect(zip::kDirectoryEntry, "a directory entry");
  directory.skip(6);
  const auto method = directory.take<uint16_t>();
  directory.skip(8);
  uint64_t stored_bytes = directory.take<uint32_t>();
  uint64_t num_bytes = directory.take<uint32_t>();
  const auto name_bytes = directory.take<uint16_t>();
  const auto extra_bytes = directory.take<uint16_t>();
  const auto comment_bytes = directory.take<uint16_t>();
  directory.skip(8);
  uint64_t header_offset = directory.take<uint32_t>();
  ZipRecord record;
  record.name = directory.take_bytes(name_bytes);
  read_zip64(directory.take_bytes(extra_bytes), num_bytes, stored_bytes, header_offset);
  directory.skip(comment_bytes);
  record.method = method;
  record.num_bytes = num_bytes;
  record.stored = record_bytes(archive, header_offset, stored_bytes);
  return record;
}

std::map<std::string, std::string_view> records_of_torch(std::string_view archive) {
  std::map<std::string, std::string_view> records;
  std::string_view folder;
  for (const ZipRecord& record : list_zip_records(archive)) {
    if (record.method != zip::kStored || record.stored.size() != record.num_bytes)
      fail<CheckpointError>("record '{}' must be stored uncompressed, but is not", record.name);
    const size_t slash = record.name.find('/');
    if (slash == std::string_view::npos ||
        (!records.empty() && record.name.substr(0, slash) != folder))
      fail<CheckpointError>("record '{}' must lie in the archive's one folder, but does not",
                            record.name);
    folder = record.name.substr(0, slash);
    if (!records.emplace(record.name.substr(slash + 1), record.stored).second)
      fail<CheckpointError>("record '{}' must come once, but comes twice", record.name);
  }
  return records;
}

/// Raw deflate of `packed` into the whole of `bytes`.
bool inflate_exactly(std::string_view packed, std::string& bytes) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  const int result = inflate(&stream, Z_FINISH);
  const bool whole = result == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  return whole;
}

}  // namespace

std::vector<ZipRecord> list_zip_records(std::string_view archive) {
  const Directory directory = find_directory(archive);
  Cursor entries(archive, directory.offset);
  std::vector<ZipRecord> records;
  for (uint64_t i = 0; i < directory.num_records; ++i)
    records.push_back(read_entry(archive, entries));
  return records;
}

std::string unpack_zip_record(const ZipRecord& record, uint64_t max_bytes) {
  if (record.num_bytes > max_bytes) {
    fail<CheckpointError>("record '{}' must have at most {} bytes, but has {}", record.name,
                          max_bytes, record.num_bytes);
  }
  if (record.method == zip::kStored && record.stored.size() == record.num_bytes)
    return std::string(record.stored);
  if (record.method != zip::kDeflated) {
    fail<CheckpointError>("record '{}' must be stored or deflated, but has method {}", record.name,
                          record.method);
  }
  std::string bytes(record.num_bytes, '\0');
  if (!inflate_exactly(record.stored, bytes))
    fail<CheckpointError>("record '{}' must unpack to {} bytes, but does not", record.name,
                          record.num_bytes);
  return bytes;
}

ZipReader::ZipReader(std::string_view archive, const std::string& where) {
  try {
    records_ = records_of_torch(archive);
  } catch (const CheckpointError& error) {
    fail<CheckpointError>("{}: torch archive of {} bytes: {}", where, archive.size(), error.what());
  }
}

const std::string_view* ZipReader::find(const std::string& name) const {
  const auto found = records_.find(name);
  return found == records_.end() ? nullptr : &found->second;
}

}  // namespace zoetrope
