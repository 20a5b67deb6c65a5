// Low-rank adapters (LoRA) of a network's linear layers: which layers get one, their parameters in
// a store of their own beside the frozen network's, and their initial values. Knows no forward pass
// and no file. Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021);
// layer choice as FastVideo train/utils/lora.py; names as PEFT's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "zoetrope/tensor/parameter_store.h"
#include "zoetrope/tensor/random_source.h"

namespace zoetrope {

/// What follows a layer's name in the names of its adapter's two matrices.
inline const std::string kLoraSuffixA = ".lora_A.weight";
inline const std::string kLoraSuffixB = ".lora_B.weight";

struct LoraOptions {
  int64_t rank = 0;  ///< r, above 0
  double alpha = 0;  ///< the adapter's output is scaled by alpha / rank
  std::vector<std::string> target_modules;

  double scale() const { return alpha / static_cast<double>(rank); }
};

/// The adapter of one linear layer: (x A^T) B^T * scale is added to the layer's output.
struct LowRankParameters {
  const Parameter* a = nullptr;  ///< [rank, in_features]
  const Parameter* b = nullptr;  ///< [out_features, rank]
  double scale = 1.0;
};

/// Whether the linear layer `name` (Diffusers' name, as `blocks.0.attn1.to_q`) gets an adapter: a
/// target occurs in its name or in the name that FastVideo gives the same layer
/// (`blocks.0.to_q`, `blocks.0.ffn.fc_in`), and it belongs to no embedder.
bool is_lora_target(const std::string& name, const std::vector<std::string>& target_modules);

/// `<name>.lora_A.weight` and `<name>.lora_B.weight` of every targeted linear layer of `base`, in
/// the groups of `base`. Throws ConfigError when no layer is targeted or the rank is not positive.
std::vector<ParameterGroupSpec> lora_parameter_specs(const std::vector<ParameterGroupSpec>& base,
                                                     const LoraOptions& options);
std::vector<ParameterGroupSpec> lora_parameter_specs(const ParameterStore& base,
                                                     const LoraOptions& options);

class LoraAdapters {
 public:
  /// Zero adapters for `base`, on its device and in its compute type, with fp32 masters. They are
  /// not sharded, since they are small; where tensor-parallel ranks have rows of a layer they have
  /// rows of B, where they have columns those of A, and the other matrix whole. Throws as
  /// lora_parameter_specs.
  LoraAdapters(const ParameterStore& base, LoraOptions options);

  const LoraOptions& options() const { return options_; }
  /// What LoRA trains.
  ParameterStore& parameters() { return parameters_; }
  const ParameterStore& parameters() const { return parameters_; }
  /// The adapter of the linear layer `name`, or nothing.
  std::optional<LowRankParameters> find(const std::string& name) const;

  /// Whether a layer of the group `name` (`blocks.3`) has an adapter.
  bool adapts(const std::string& group_name) const;
  /// Announces a forward pass whose backward pass will add to the gradients.
  void expect_gradients();

  /// A uniform in +-1/sqrt(in_features) (Kaiming with a = sqrt(5)), each tensor's draw keyed by its
  /// name (tensor-parallel ranks take their parts of it); B zero, so that the adapted network
  /// starts as the network itself.
  void initialize(RandomSource& random);

 private:
  LoraOptions options_;
  ParameterStore parameters_;
};

}  // namespace zoetrope
