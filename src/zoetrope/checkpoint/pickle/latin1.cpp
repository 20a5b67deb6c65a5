#include "zoetrope/checkpoint/pickle/latin1.h"

#include <cstdint>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

// UTF-8 of characters 128 to 255: a lead byte of 0xC2 or 0xC3, then 0x80 and the low six bits.
constexpr uint8_t kFirstTwoByte = 0x80;
constexpr uint8_t kLead = 0xC0;
constexpr uint8_t kLowBits = 0x3F;

}  // namespace

std::string latin1_of_utf8(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<uint8_t>(text[i]);
    if (lead < kFirstTwoByte) {
      bytes.push_back(text[i]);
      continue;
    }
    const auto next = i + 1 < text.size() ? static_cast<uint8_t>(text[i + 1]) : uint8_t{0};
    if ((lead != 0xC2 && lead != 0xC3) || (next & kLead) != kFirstTwoByte)
      fail<CheckpointError>("bytes must be written as characters up to 255, but are not");
    bytes.push_back(static_cast<char>(((lead & 3U) << 6U) | (next & kLowBits)));
    ++i;
  }
  return bytes;
}

std::string utf8_of_latin1(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (const char character : bytes) {
    const auto byte = static_cast<uint8_t>(character);
    if (byte < kFirstTwoByte) {
      text.push_back(character);
    } else {
      text.push_back(static_cast<char>(kLead | (byte >> 6U)));
      text.push_back(static_cast<char>(kFirstTwoByte | (byte & kLowBits)));
    }
  }
  return text;
}

}  // namespace zoetrope
