// Chooses at run time how wide the vectors of a loop are: one body, compiled for several
// instruction sets, so that the same binary runs on any x86-64 processor. Knows no tensors.
#pragma once

#include <cstdint>

namespace zoetrope::kernels {

enum class VectorLevel { kBaseline, kAvx2, kAvx512 };

/// What this processor (and the operating system) can run; the environment variable
/// ZOETROPE_VECTOR_LEVEL
/// (`baseline`, `avx2`, `avx512`) lowers it, for tests.
VectorLevel vector_level();

/// True when the processor multiplies bf16 pairs (AVX512-BF16) and vector_level() is kAvx512.
bool has_bf16_multiply();

namespace detail {

template <class Body>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]] void run_avx512(const Body& body) {
  body();
}

template <class Body>
[[gnu::target("avx2,fma")]] void run_avx2(const Body& body) {
  body();
}

}  // namespace detail

/// Runs `body`, a lambda marked __attribute__((always_inline)), compiled for the widest available
/// vectors.
template <class Body>
void run_vectorized(const Body& body) {
  switch (vector_level()) {
    case VectorLevel::kAvx512:
      return detail::run_avx512(body);
    case VectorLevel::kAvx2:
      return detail::run_avx2(body);
    case VectorLevel::kBaseline:
      return body();
  }
}

}  // namespace zoetrope::kernels
