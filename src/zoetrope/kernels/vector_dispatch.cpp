#include "zoetrope/kernels/vector_dispatch.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "zoetrope/base/error.h"

namespace zoetrope::kernels {
namespace {

VectorLevel supported_level() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return VectorLevel::kAvx512;
  }
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? VectorLevel::kAvx2
                                                                         : VectorLevel::kBaseline;
}

VectorLevel wanted_level() {
  const char* text = std::getenv("ZOETROPE_VECTOR_LEVEL");
  if (text == nullptr) return VectorLevel::kAvx512;
  const std::string_view level = text;
  if (level == "baseline") return VectorLevel::kBaseline;
  if (level == "avx2") return VectorLevel::kAvx2;
  if (level == "avx512") return VectorLevel::kAvx512;
  fail("ZOETROPE_VECTOR_LEVEL: must be baseline, avx2 or avx512, but is '{}'", level);
}

}  // namespace

VectorLevel vector_level() {
  static const VectorLevel level = std::min(supported_level(), wanted_level());
  return level;
}

bool has_bf16_multiply() {
  return vector_level() == VectorLevel::kAvx512 && __builtin_cpu_supports("avx512bf16");
}

}  // namespace zoetrope::kernels
