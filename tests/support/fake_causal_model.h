// The fake model with the streaming side of a causal one: what it remembers of each clip is the
// mean of the frames that were stored last.
#pragma once

#include <map>
#include <string>

#include "support/fake_model.h"
#include "zoetrope/models/causal_model.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"

namespace zoetrope::test {

class FakeCausalModel : public FakeModel, public CausalModelBase {
 public:
  static constexpr double kContextShare = 0.125;  ///< of the context in a velocity

  FakeCausalModel(RandomSource& random, int64_t frames_per_block, bool trainable = true)
      : FakeModel(random, trainable), frames_per_block_(frames_per_block) {}

  int64_t num_frames_per_block() const override { return frames_per_block_; }
  void clear_caches(const std::string& cache_tag) override { contexts.erase(cache_tag); }
  at::Tensor predict_noise_streaming(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                     const Conditioning& conditioning,
                                     const StreamingOptions& options) override {
    at::Tensor velocity = predict_noise(noisy_BTCHW, timestep, conditioning);
    forwards.back().first_frame = options.cur_start_frame;
    forwards.back().stores_context = options.store_kv;
    const auto context = contexts.find(options.cache_tag);
    if (context != contexts.end()) velocity = velocity + kContextShare * context->second;
    if (options.store_kv) contexts[options.cache_tag] = noisy_BTCHW.mean({1, 2, 3, 4}, true);
    return velocity;
  }
  StateDict cache_state(const std::string& cache_tag) const override {
    const auto context = contexts.find(cache_tag);
    if (context == contexts.end()) return {};
    return {.tensors = {{"context", copy_for_checkpoint(context->second)}}, .scalars = {}};
  }
  void load_cache_state(const std::string& cache_tag, const StateDict& state,
                        const Conditioning& /*conditioning*/) override {
    contexts.erase(cache_tag);
    if (!state.empty()) contexts[cache_tag] = state.tensor("context").clone();
  }
  at::Tensor predict_x0_streaming(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                  const Conditioning& conditioning,
                                  const StreamingOptions& options) override {
    return noisy_BTCHW - noise_schedule().sigma_at(timestep).view({-1, 1, 1, 1, 1}) *
                             predict_noise_streaming(noisy_BTCHW, timestep, conditioning, options);
  }
  at::Tensor predict_noise_teacher_forced(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                          const Conditioning& conditioning,
                                          const at::Tensor& clean_BTCHW) override {
    return predict_noise(noisy_BTCHW, timestep, conditioning) + kContextShare * clean_BTCHW;
  }
  StreamingNetwork streaming_network(int64_t /*num_frames*/) override { return {}; }

  std::map<std::string, at::Tensor> contexts;  ///< [B, 1, 1, 1, 1] by cache tag

 private:
  int64_t frames_per_block_;
};

}  // namespace zoetrope::test
