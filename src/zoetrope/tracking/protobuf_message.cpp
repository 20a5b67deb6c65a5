#include "zoetrope/tracking/protobuf_message.h"

#include <bit>
#include <cstring>

namespace zoetrope {
namespace {

static_assert(std::endian::native == std::endian::little,
              "protobuf's fixed-size numbers are little-endian");

constexpr uint32_t kVarint = 0;
constexpr uint32_t kFixed64 = 1;
constexpr uint32_t kLengthDelimited = 2;
constexpr uint32_t kFixed32 = 5;

template <class T>
std::string_view raw_bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

}  // namespace

void ProtobufMessage::put_varint(uint64_t value) {
  while (value >= 0x80) {
    bytes_ += static_cast<char>((value & 0x7F) | 0x80);
    value >>= 7;
  }
  bytes_ += static_cast<char>(value);
}

void ProtobufMessage::put_key(uint32_t field, uint32_t wire_type) {
  put_varint((field << 3) | wire_type);
}

ProtobufMessage& ProtobufMessage::add_integer(uint32_t field, int64_t value) {
  put_key(field, kVarint);
  put_varint(static_cast<uint64_t>(value));
  return *this;
}

ProtobufMessage& ProtobufMessage::add_float(uint32_t field, float value) {
  put_key(field, kFixed32);
  bytes_ += raw_bytes(value);
  return *this;
}

ProtobufMessage& ProtobufMessage::add_double(uint32_t field, double value) {
  put_key(field, kFixed64);
  bytes_ += raw_bytes(value);
  return *this;
}

ProtobufMessage& ProtobufMessage::add_bytes(uint32_t field, std::string_view bytes) {
  put_key(field, kLengthDelimited);
  put_varint(bytes.size());
  bytes_ += bytes;
  return *this;
}

ProtobufMessage& ProtobufMessage::add_message(uint32_t field, const ProtobufMessage& message) {
  return add_bytes(field, message.bytes());
}

}  // namespace zoetrope
