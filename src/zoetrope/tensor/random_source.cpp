#include "zoetrope/tensor/random_source.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

// Vigna's SplitMix64 finaliser: every input bit reaches every output bit.
uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

template <class Fill>
at::Tensor draw_rows(int64_t seed, const DrawKey& key, at::Tensor result, const Fill& fill) {
  if (key.samples.empty()) {
    fill(result, at::detail::createCPUGenerator(draw_seed(seed, key.purpose, key.step)));
    return result;
  }
  if (result.size(0) != static_cast<int64_t>(key.samples.size())) {
    fail("draw '{}': must have one row per sample ({}), but has shape {}", key.purpose,
         key.samples.size(), format_shape(result.sizes()));
  }
  for (size_t row = 0; row < key.samples.size(); ++row) {
    at::Tensor view = result[static_cast<int64_t>(row)];
    fill(view, at::detail::createCPUGenerator(draw_seed(seed, key.purpose, key.samples[row])));
  }
  return result;
}

}  // namespace

uint64_t draw_seed(int64_t seed, std::string_view purpose, int64_t index) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char letter : purpose)
    hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3ULL;
  return mix(mix(mix(static_cast<uint64_t>(seed)) ^ hash) ^ static_cast<uint64_t>(index));
}

double draw_uniform(int64_t seed, std::string_view purpose, int64_t index) {
  return static_cast<double>(draw_seed(seed, purpose, index) >> 11) * 0x1.0p-53;
}

at::Tensor KeyedRandomSource::normal(const DrawKey& key, at::IntArrayRef shape) {
  return draw_rows(
      seed_, key, at::empty(shape, at::kFloat),
      [](at::Tensor& rows, const at::Generator& generator) { rows.normal_(0.0, 1.0, generator); });
}

at::Tensor KeyedRandomSource::uniform(const DrawKey& key, at::IntArrayRef shape) {
  return draw_rows(
      seed_, key, at::empty(shape, at::kFloat),
      [](at::Tensor& rows, const at::Generator& generator) { rows.uniform_(0.0, 1.0, generator); });
}

at::Tensor KeyedRandomSource::integers(const DrawKey& key, int64_t low, int64_t high,
                                       at::IntArrayRef shape) {
  return draw_rows(seed_, key, at::empty(shape, at::kLong),
                   [&](at::Tensor& rows, const at::Generator& generator) {
                     rows.random_(low, high, generator);
                   });
}

}  // namespace zoetrope
