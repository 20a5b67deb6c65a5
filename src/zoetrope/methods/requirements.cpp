#include "zoetrope/methods/requirements.h"

#include "zoetrope/base/error.h"

namespace zoetrope {

void require_positive_learning_rate(const OptimizerConfig& optimizer, const std::string& method) {
  if (optimizer.learning_rate > 0.0) return;
  fail<ConfigError>("training.optimizer.learning_rate: {} needs a value above 0, but got {}",
                    method, optimizer.learning_rate);
}

CausalModelBase& require_causal(ModelBase& model, const std::string& role,
                                const std::string& method) {
  if (auto* causal = dynamic_cast<CausalModelBase*>(&model)) return *causal;
  fail<ConfigError>(
      "models.{}: {} needs a causal model, but this one is bidirectional; use WanCausalModel", role,
      method);
}

void require_block_size(ModelBase& model, int64_t num_frames, const std::string& key) {
  const auto* causal = dynamic_cast<const CausalModelBase*>(&model);
  if (causal == nullptr || causal->num_frames_per_block() == num_frames) return;
  fail<ConfigError>("{}: must be the student's num_frames_per_block, which is {}, but got {}", key,
                    causal->num_frames_per_block(), num_frames);
}

}  // namespace zoetrope
