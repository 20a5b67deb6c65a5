// A Wan transformer loaded from a Diffusers folder, as the golden tests of this folder need it.
#pragma once

#include <memory>

#include "support/golden.h"
#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"

namespace zoetrope::test {

/// The network of `folder`, whose attention is causal or not as the class that it names.
inline std::unique_ptr<WanTransformer> load_transformer(const std::filesystem::path& folder,
                                                        ParameterStore::Options options) {
  auto network = std::make_unique<WanTransformer>(
      read_wan_transformer_config(folder / "config.json"), options);
  network->parameters().load(load_wan_weights(folder, network->parameters().specs(),
                                              wan_transformer_unused_specs(network->config())));
  return network;
}

/// Whether `folder` (of a transformer) holds a network that is built, of one of `classes`.
inline bool is_network_of(const std::filesystem::path& folder,
                          const std::vector<std::string>& classes) {
  std::ifstream file(folder / "config.json");
  const auto config = nlohmann::json::parse(file, nullptr, false);
  return config.is_object() && !config.contains("r_embedder") &&
         std::find(classes.begin(), classes.end(), config.value("_class_name", "")) !=
             classes.end();
}

/// Gradients of tensors whose norm is below 1e-6 of the total are rounding noise.
inline bool is_rounding_noise(const at::Tensor& gradient, double total_norm) {
  return gradient.to(at::kDouble).norm().item<double>() < 1e-6 * total_norm;
}

}  // namespace zoetrope::test
