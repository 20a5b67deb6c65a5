// A Wan transformer loaded from a Diffusers folder, as the golden tests of this folder need it.
#pragma once

#include <memory>

#include "support/golden.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"

namespace zoetrope::test {

inline std::unique_ptr<WanTransformer> load_transformer(const std::filesystem::path& folder,
                                                        ParameterStore::Options options) {
  auto network = std::make_unique<WanTransformer>(
      read_wan_transformer_config(folder / "config.json"), options);
  const WeightFolder weights(folder);
  // FastVideo insists on this tensor; nothing reads it.
  std::vector<std::string> ignored;
  for (const std::string& name : weights.names()) {
    if (name.ends_with("norm_added_q.weight")) ignored.push_back(name);
  }
  network->parameters().load(weights.load_strict(network->parameters().specs(), ignored));
  return network;
}

/// Gradients of tensors whose norm is below 1e-6 of the total are rounding noise.
inline bool is_rounding_noise(const at::Tensor& gradient, double total_norm) {
  return gradient.to(at::kDouble).norm().item<double>() < 1e-6 * total_norm;
}

}  // namespace zoetrope::test
