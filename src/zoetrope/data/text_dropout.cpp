#include "zoetrope/data/text_dropout.h"

#include <array>
#include <cstddef>

#include "zoetrope/tensor/random_source.h"

namespace zoetrope {
namespace {

constexpr size_t kStateSize = 624;
using State = std::array<uint32_t, kStateSize>;

uint32_t previous_mixed(const State& state, size_t index) {
  return state[index - 1] ^ (state[index - 1] >> 30);
}

/// The reference code's init_by_array with the seed's 32-bit limbs as the key.
State init_state(uint64_t seed) {
  State state{};
  state[0] = 19650218U;
  for (size_t i = 1; i < kStateSize; ++i) {
    state[i] = 1812433253U * previous_mixed(state, i) + static_cast<uint32_t>(i);
  }
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  const size_t key_length = key[1] == 0 ? 1 : 2;
  size_t i = 1;
  size_t j = 0;
  const auto advance = [&] {
    if (++i < kStateSize) return;
    state[0] = state[kStateSize - 1];
    i = 1;
  };
  for (size_t round = 0; round < kStateSize; ++round) {
    state[i] =
        (state[i] ^ (previous_mixed(state, i) * 1664525U)) + key[j] + static_cast<uint32_t>(j);
    advance();
    j = (j + 1) % key_length;
  }
  for (size_t round = 0; round + 1 < kStateSize; ++round) {
    state[i] = (state[i] ^ (previous_mixed(state, i) * 1566083941U)) - static_cast<uint32_t>(i);
    advance();
  }
  state[0] = 0x80000000U;
  return state;
}

/// Output `index` of the first block; the twist of an early word needs only words that are not
/// twisted yet.
uint32_t first_outputs(const State& state, size_t index) {
  const uint32_t joined = (state[index] & 0x80000000U) | (state[index + 1] & 0x7fffffffU);
  uint32_t word = state[index + 397] ^ (joined >> 1) ^ ((joined & 1U) != 0 ? 0x9908b0dfU : 0U);
  word ^= word >> 11;
  word ^= (word << 7) & 0x9d2c5680U;
  word ^= (word << 15) & 0xefc60000U;
  return word ^ (word >> 18);
}

}  // namespace

double python_random(int64_t seed) {
  // CPython seeds with the absolute value.
  const State state =
      init_state(seed < 0 ? 0 - static_cast<uint64_t>(seed) : static_cast<uint64_t>(seed));
  const uint32_t high = first_outputs(state, 0) >> 5;
  const uint32_t low = first_outputs(state, 1) >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

bool drops_text(const SampleSlot& slot, SampleOrderKind kind, int64_t seed, double rate) {
  if (rate <= 0.0) return false;
  if (kind == SampleOrderKind::kFastVideo) return python_random(seed ^ slot.row) < rate;
  const uint64_t bits = draw_seed(seed, "data.text_dropout", slot.global_index);
  return static_cast<double>(bits >> 11) / 9007199254740992.0 < rate;
}

}  // namespace zoetrope
