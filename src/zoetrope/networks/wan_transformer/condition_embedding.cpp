#include "zoetrope/networks/wan_transformer/condition_embedding.h"

#include <cmath>
#include <cstring>

#include <ATen/ATen.h>

#include "zoetrope/networks/wan_transformer/plain_layers.h"

namespace zoetrope {
namespace {

constexpr double kImageNormEps = 1e-5;
const std::string kPrefix = "condition_embedder.";

at::Tensor linear_at(const ParameterStore& parameters, const std::string& name,
                     const at::Tensor& x) {
  return at::linear(x, parameters.value(name + ".weight"), parameters.value(name + ".bias"));
}

at::Tensor norm_at(const ParameterStore& parameters, const std::string& name, const at::Tensor& x) {
  return layer_norm_fp32(x, parameters.value(name + ".weight"), parameters.value(name + ".bias"),
                         kImageNormEps);
}

}  // namespace

at::Tensor sinusoidal_embedding(const at::Tensor& timesteps, int64_t channels) {
  const int64_t half = channels / 2;
  const at::Tensor index = at::arange(half, timesteps.options().dtype(at::kFloat));
  const at::Tensor frequencies = (index * (-std::log(10000.0) / static_cast<double>(half))).exp();
  const at::Tensor angles = timesteps.to(at::kFloat).unsqueeze(-1) * frequencies;
  return at::cat({angles.cos(), angles.sin()}, -1);
}

TimeEmbedding embed_timesteps(const ParameterStore& parameters, const WanTransformerConfig& config,
                              const at::Tensor& timestep_BM, const ActivationObserver& observer) {
  const std::string embedder = kPrefix + "time_embedder";
  const at::Tensor sinusoid =
      sinusoidal_embedding(timestep_BM, config.freq_dim).to(parameters.options().compute_dtype);
  const at::Tensor first = linear_at(parameters, embedder + ".linear_1", sinusoid);
  TimeEmbedding time;
  time.embedding_BMD = linear_at(parameters, embedder + ".linear_2", at::silu(first));
  const at::Tensor modulation =
      linear_at(parameters, kPrefix + "time_proj", at::silu(time.embedding_BMD));
  time.modulation_BM6D = modulation.unflatten(-1, {6, -1});
  if (observer) {
    observer(embedder + ".linear_1", first);
    observer(embedder, time.embedding_BMD);
    observer(kPrefix + "time_proj", modulation);
  }
  return time;
}

int64_t count_padding_tokens(const at::Tensor& text_BLE) {
  const int64_t num_tokens = text_BLE.size(1);
  const int64_t token_bytes = text_BLE.size(2) * text_BLE.element_size();
  const auto* bytes = static_cast<const char*>(text_BLE.const_data_ptr());
  const std::string zeros(static_cast<size_t>(token_bytes), '\0');
  int64_t padding = num_tokens;
  for (int64_t sample = 0; sample < text_BLE.size(0); ++sample) {
    int64_t count = 0;
    while (count < padding) {
      const char* token = bytes + ((sample + 1) * num_tokens - 1 - count) * token_bytes;
      if (std::memcmp(token, zeros.data(), zeros.size()) != 0) break;
      ++count;
    }
    padding = count;
  }
  return padding;
}

at::Tensor embed_text(const ParameterStore& parameters, const at::Tensor& text_BLE,
                      const ActivationObserver& observer) {
  const std::string embedder = kPrefix + "text_embedder";
  const at::Tensor first = linear_at(parameters, embedder + ".linear_1",
                                     text_BLE.to(parameters.options().compute_dtype));
  at::Tensor text_BLD = linear_at(parameters, embedder + ".linear_2", at::gelu(first, "tanh"));
  if (observer) {
    observer(embedder + ".linear_1", first);
    observer(embedder, text_BLD);
  }
  return text_BLD;
}

at::Tensor embed_image(const ParameterStore& parameters, const at::Tensor& image_BLE,
                       const ActivationObserver& observer) {
  const std::string embedder = kPrefix + "image_embedder";
  const at::Tensor norm1 =
      norm_at(parameters, embedder + ".norm1", image_BLE.to(parameters.options().compute_dtype));
  const at::Tensor first = linear_at(parameters, embedder + ".ff.net.0.proj", norm1);
  const at::Tensor second = linear_at(parameters, embedder + ".ff.net.2", at::gelu(first, "none"));
  at::Tensor image_BLD = norm_at(parameters, embedder + ".norm2", second);
  if (observer) {
    observer(embedder + ".norm1", norm1);
    observer(embedder + ".ff.net.0.proj", first);
    observer(embedder + ".ff.net.2", second);
    observer(embedder + ".norm2", image_BLD);
  }
  return image_BLD;
}

}  // namespace zoetrope
