#include "zoetrope/checkpoint/torch_archive/zip_writer.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>
#include <xxhash.h>
#include <zlib.h>

#include "zoetrope/checkpoint/torch_archive/zip_format.h"

static_assert(std::endian::native == std::endian::little, "zip numbers and tensors are copied");

namespace zoetrope {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint16_t kPaddingExtra = 0x4246;  // "FB", as torch pads
// Bit 3: CRC and sizes follow the data. Bit 11: names are UTF-8.
constexpr uint16_t kFlags = 0x0808;
constexpr uint16_t kVersionNeeded = 0;
constexpr uint16_t kVersionMadeBy64 = 0x031e;
constexpr uint16_t kVersionNeeded64 = 45;

class Fields {
 public:
  template <class Number>
  Fields& put(Number number) {
    bytes_.append(reinterpret_cast<const char*>(&number), sizeof(number));
    return *this;
  }
  Fields& put(const std::string& text) {
    bytes_ += text;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

uint32_t narrow(uint64_t number) {
  return static_cast<uint32_t>(std::min<uint64_t>(number, zip::kIn64));
}

}  // namespace

ZipWriter::ZipWriter(OutputFile& out, std::string folder)
    : out_(out), folder_(std::move(folder)), begin_(out.offset()) {}

void ZipWriter::add(std::string_view name, const void* bytes, uint64_t num_bytes) {
  constexpr uint64_t kBlockBytes = 1U << 20U;  // stays in the cache between checksum and write
  Record record{folder_ + "/" + std::string(name), position(), num_bytes, 0};
  write_local_header(record);
  const char* next = static_cast<const char*>(bytes);
  uLong crc = crc32(0, nullptr, 0);
  for (uint64_t left = num_bytes; left > 0;) {
    const uint64_t block = std::min(left, kBlockBytes);
    crc = crc32(crc, reinterpret_cast<const Bytef*>(next), static_cast<uInt>(block));
    out_.write(next, block);
    next += block;
    left -= block;
  }
  record.crc32 = static_cast<uint32_t>(crc);
  Fields descriptor;
  descriptor.put(zip::kDataDescriptor).put(record.crc32);
  if (num_bytes >= zip::kIn64)
    descriptor.put(num_bytes).put(num_bytes);
  else
    descriptor.put(narrow(num_bytes)).put(narrow(num_bytes));
  out_.write(descriptor.bytes());
  records_.push_back(std::move(record));
}

std::string ZipWriter::content_id() const {
  Fields content;
  for (const Record& record : records_) content.put(record.name).put(record.crc32);
  const XXH128_hash_t hash = XXH3_128bits(content.bytes().data(), content.bytes().size());
  return fmt::format("{:020}{:020}", hash.high64, hash.low64);
}

void ZipWriter::finish() {
  const uint64_t directory = position();
  for (const Record& record : records_) write_directory_entry(record);
  const uint64_t end = position();
  const uint64_t num_records = records_.size();
  const uint64_t directory_bytes = end - directory;
  Fields fields;
  // torch writes the zip64 end always.
  fields.put(zip::kZip64End).put(zip::kZip64EndBytes - 12);
  fields.put(kVersionMadeBy64).put(kVersionNeeded64).put(uint32_t{0}).put(uint32_t{0});
  fields.put(num_records).put(num_records).put(directory_bytes).put(directory);
  fields.put(zip::kZip64Locator).put(uint32_t{0}).put(end).put(uint32_t{1});
  const auto short_count = static_cast<uint16_t>(std::min<uint64_t>(num_records, zip::kIn64Short));
  fields.put(zip::kEnd).put(uint32_t{0}).put(short_count).put(short_count);
  fields.put(narrow(directory_bytes)).put(narrow(directory)).put(uint16_t{0});
  out_.write(fields.bytes());
}

void ZipWriter::write_local_header(const Record& record) {
  const bool wide = record.num_bytes >= zip::kIn64;
  Fields extra;
  if (wide) {
    constexpr uint16_t kTwoNumbers = 16;
    extra.put(zip::kZip64Extra).put(kTwoNumbers).put(record.num_bytes).put(record.num_bytes);
  }
  constexpr uint64_t kExtraHeaderBytes = 4;
  const uint64_t unpadded = record.header_offset + zip::kLocalHeaderBytes + record.name.size() +
                            extra.bytes().size() + kExtraHeaderBytes;
  const std::string padding((kAlignment - unpadded % kAlignment) % kAlignment, 'Z');
  extra.put(kPaddingExtra).put(static_cast<uint16_t>(padding.size())).put(padding);
  Fields header;
  header.put(zip::kLocalHeader).put(kVersionNeeded).put(kFlags);
  header.put(uint16_t{0}).put(uint32_t{0}).put(uint32_t{0});  // stored; no time; CRC comes later
  const uint32_t size = wide ? zip::kIn64 : 0;
  header.put(size).put(size);
  header.put(static_cast<uint16_t>(record.name.size()));
  header.put(static_cast<uint16_t>(extra.bytes().size()));
  header.put(record.name).put(extra.bytes());
  out_.write(header.bytes());
}

void ZipWriter::write_directory_entry(const Record& record) {
  Fields wide;
  if (record.num_bytes >= zip::kIn64) wide.put(record.num_bytes).put(record.num_bytes);
  if (record.header_offset >= zip::kIn64) wide.put(record.header_offset);
  Fields extra;
  if (!wide.bytes().empty()) {
    extra.put(zip::kZip64Extra).put(static_cast<uint16_t>(wide.bytes().size()));
    extra.put(wide.bytes());
  }
  Fields entry;
  entry.put(zip::kDirectoryEntry).put(uint16_t{0}).put(kVersionNeeded).put(kFlags);
  entry.put(uint16_t{0}).put(uint32_t{0}).put(record.crc32);
  entry.put(narrow(record.num_bytes)).put(narrow(record.num_bytes));
  entry.put(static_cast<uint16_t>(record.name.size()));
  entry.put(static_cast<uint16_t>(extra.bytes().size()));
  entry.put(uint16_t{0}).put(uint16_t{0}).put(uint16_t{0}).put(uint32_t{0});
  entry.put(narrow(record.header_offset));
  entry.put(record.name).put(extra.bytes());
  out_.write(entry.bytes());
}

}  // namespace zoetrope
