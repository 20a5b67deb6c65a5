// Conversions between bf16 bits and fp32 that the compiler can vectorise.
#pragma once

#include <bit>
#include <cstdint>

namespace zoetrope::kernels {

/// Bits of a bf16 number; layout-compatible with c10::BFloat16.
struct Bf16 {
  uint16_t bits;
};

inline float to_float(float value) {
  return value;
}
inline float to_float(Bf16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

/// Rounds to nearest, ties to even; infinities and the processor's NaN stay what they are.
inline Bf16 to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return {static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16)};
}

inline void store(float& target, float value) {
  target = value;
}
inline void store(Bf16& target, float value) {
  target = to_bf16(value);
}

}  // namespace zoetrope::kernels
