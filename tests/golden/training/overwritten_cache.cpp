#include "golden/training/overwritten_cache.h"

#include <ATen/core/grad_mode.h>

#include "zoetrope/models/causal_model.h"

namespace zoetrope::test {
namespace {

using nlohmann::json;

constexpr const char* kTag = "overwritten";
constexpr const char* kCacheState = "cache.";

/// The student's passes with gradient, the last one first, as the backward pass repeats them.
std::vector<json> repeated_passes(const json& step) {
  std::vector<json> passes;
  for (const json& event : step["events"]) {
    if (event["kind"] == "predict_noise_streaming" && event["grad"]) passes.push_back(event);
  }
  return {passes.rbegin(), passes.rend()};
}

/// Copies keys and values of `num_frames` frames into `state` of a cache of `end_frame` frames.
void overwrite(StateDict& state, const StateDict& cache, int64_t end_frame, int64_t first,
               int64_t num_frames) {
  for (auto& [name, tensor] : state.tensors) {
    if (!name.starts_with("cache.keys.") && !name.starts_with("cache.values.")) continue;
    const int64_t frame_tokens = tensor.size(1) / end_frame;
    const at::Tensor written = cache.tensor(name.substr(std::string(kCacheState).size()));
    tensor.narrow(1, first * frame_tokens, num_frames * frame_tokens)
        .copy_(written.narrow(1, first * frame_tokens, num_frames * frame_tokens));
  }
}

}  // namespace

void OverwrittenCache::on_before_optimizer_step(RunState& run,
                                                std::vector<OptimizerUpdate>& /*updates*/) {
  const std::vector<json> passes = repeated_passes(golden_.step(run.step));
  StateDict state = run.method.state_dict();
  if (state.empty() || passes.empty()) return;
  const at::NoGradGuard no_grad;
  auto& student = dynamic_cast<CausalModelBase&>(run.method.student());
  const auto end_frame = state.scalar<int64_t>("cache.end_frame");
  Conditioning conditioning;
  conditioning.text_embedding_BLD = state.tensor("sequence.conditional.text_embedding");
  student.load_cache_state(kTag, state.part(kCacheState), conditioning);
  for (const json& pass : passes) {
    const at::Tensor noisy_BTCHW = golden_.tensor(pass["keys"]["noisy"]);
    const int64_t first = pass["cur_start_frame"];
    student.predict_noise_streaming(
        noisy_BTCHW, golden_.tensor(pass["keys"]["t"]), conditioning,
        {.cache_tag = kTag, .store_kv = true, .cur_start_frame = first});
    overwrite(state, student.cache_state(kTag), end_frame, first, noisy_BTCHW.size(1));
  }
  run.method.load_state_dict(state);
}

}  // namespace zoetrope::test
