// Encodes one protobuf message field by field (protobuf.dev/programming-guides/encoding). Knows no
// message type.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace zoetrope {

class ProtobufMessage {
 public:
  ProtobufMessage& add_integer(uint32_t field, int64_t value);
  ProtobufMessage& add_float(uint32_t field, float value);
  ProtobufMessage& add_double(uint32_t field, double value);
  ProtobufMessage& add_bytes(uint32_t field, std::string_view bytes);
  ProtobufMessage& add_message(uint32_t field, const ProtobufMessage& message);

  const std::string& bytes() const { return bytes_; }

 private:
  void put_varint(uint64_t value);
  void put_key(uint32_t field, uint32_t wire_type);

  std::string bytes_;
};

}  // namespace zoetrope
