// WanCausalModel: the Wan 2.1 text-to-video transformer as a causal role, with key-value caches for
// streaming inside the model. Source: FastVideo train/models/wan/wan_causal.py.
#pragma once

#include <map>

#include "zoetrope/models/causal_model.h"
#include "zoetrope/models/wan/wan_model.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"

namespace zoetrope {

/// `models.<role>` of a causal Wan model.
struct WanCausalModelConfig : WanModelConfig {
  std::optional<int64_t> num_frames_per_block;
  static void describe(config::Schema<WanCausalModelConfig>& schema);
};

class WanCausalModel : public WanModel, public CausalModelBase {
 public:
  /// As WanModel. The window comes from `transformer/config.json`, or from the context where that
  /// does not say; throws Error when a block does not fit into it.
  WanCausalModel(const WanCausalModelConfig& config, const ModelContext& context);

  const CausalAttention& attention() const { return attention_; }
  int64_t num_frames_per_block() const override { return attention_.num_frames_per_block; }
  at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                           const Conditioning& conditioning) override;
  at::Tensor predict_noise_teacher_forced(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                          const Conditioning& conditioning,
                                          const at::Tensor& clean_BTCHW) override;
  void clear_caches(const std::string& cache_tag) override;
  StateDict cache_state(const std::string& cache_tag) const override;
  void load_cache_state(const std::string& cache_tag, const StateDict& state,
                        const Conditioning& conditioning) override;
  at::Tensor predict_noise_streaming(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                     const Conditioning& conditioning,
                                     const StreamingOptions& options) override;
  at::Tensor predict_x0_streaming(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                  const Conditioning& conditioning,
                                  const StreamingOptions& options) override;
  StreamingNetwork streaming_network(int64_t num_frames) override;

 protected:
  /// The same with a network of the shape `network`, whatever the folder's config.json says.
  WanCausalModel(const WanCausalModelConfig& config, const ModelContext& context,
                 const WanTransformerConfig& network);
  /// With the attention in which it was trained.
  WanTransformerConfig exported_config() const override;

 private:
  KeyValueCache& cache(const std::string& tag);

  CausalAttention attention_;
  int64_t max_frames_;  ///< that a cache holds when the window is unbounded
  std::map<std::string, KeyValueCache> caches_;
};

}  // namespace zoetrope
