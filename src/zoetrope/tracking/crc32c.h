// CRC-32C (Castagnoli, RFC 3720 appendix B.4) and the masked form that TFRecord files store.
#pragma once

#include <cstdint>
#include <string_view>

namespace zoetrope {

uint32_t crc32c(std::string_view bytes);

/// TensorFlow's mask (tensorflow/core/lib/hash/crc32c.h), so that the CRC of data that holds CRCs
/// stays strong.
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace zoetrope
