#include "support/replay_random_source.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope::test {

ReplayRandomSource::Draw ReplayRandomSource::pop(const DrawKey& key, at::IntArrayRef shape,
                                                 std::initializer_list<const char*> functions) {
  if (draws_.empty())
    fail("replay: draw '{}' must be recorded, but the trace has no draws left", key.purpose);
  Draw draw = std::move(draws_.front());
  draws_.pop_front();
  const bool same_kind = std::any_of(functions.begin(), functions.end(),
                                     [&](const char* name) { return draw.function == name; });
  if (!same_kind || draw.values.sizes() != shape) {
    fail("replay: draw '{}' of shape {} must be the recorded next one, but that is {} of shape {}",
         key.purpose, format_shape(shape), draw.function, format_shape(draw.values.sizes()));
  }
  return draw;
}

at::Tensor ReplayRandomSource::normal(const DrawKey& key, at::IntArrayRef shape) {
  const Draw draw = pop(key, shape, {"randn", "randn_like", "normal"});
  const at::Tensor values = draw.values.to(at::kFloat);
  return draw.function == "normal" ? (values - normal_mean_) / normal_std_ : values;
}

at::Tensor ReplayRandomSource::uniform(const DrawKey& key, at::IntArrayRef shape) {
  return pop(key, shape, {"rand"}).values.to(at::kFloat);
}

at::Tensor ReplayRandomSource::integers(const DrawKey& key, int64_t low, int64_t high,
                                        at::IntArrayRef shape) {
  at::Tensor values = pop(key, shape, {"randint"}).values.to(at::kLong);
  if (values.min().item<int64_t>() < low || values.max().item<int64_t>() >= high) {
    fail("replay: draw '{}' must lie in [{}, {}), but the recorded one does not", key.purpose, low,
         high);
  }
  return values;
}

}  // namespace zoetrope::test
