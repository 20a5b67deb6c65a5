#include "zoetrope/networks/lora/lora_adapters.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

const std::string kWeight = ".weight";

void replace(std::string& text, const std::string& from, const std::string& to) {
  const size_t position = text.find(from);
  if (position != std::string::npos) text.replace(position, from.size(), to);
}

/// FastVideo's name of a layer of the Wan transformer.
std::string fastvideo_name(std::string name) {
  replace(name, ".attn1.", ".");
  replace(name, ".to_out.0", ".to_out");
  replace(name, ".ffn.net.0.proj", ".ffn.fc_in");
  replace(name, ".ffn.net.2", ".ffn.fc_out");
  return name;
}

/// The linear layer that `spec` is the weight of: matrices are in linear layers only.
std::optional<std::string> linear_layer(const TensorSpec& spec) {
  if (spec.shape.size() != 2 || !spec.name.ends_with(kWeight)) return std::nullopt;
  return spec.name.substr(0, spec.name.size() - kWeight.size());
}

ParameterStore::Options trainable(ParameterStore::Options options) {
  options.trainable = true;
  options.num_shards = 1;
  options.shard_index = 0;
  return options;
}

enum class Shapes { kOfThisRank, kWhole };

std::vector<ParameterGroupSpec> group_specs(const ParameterStore& parameters, Shapes shapes) {
  std::vector<ParameterGroupSpec> specs;
  for (const ParameterGroup& group : parameters.groups()) {
    specs.push_back({group.name, {}});
    for (const Parameter& parameter : group.parameters) {
      const auto part = parameters.part(parameter.name);
      specs.back().parameters.push_back({parameter.name, part && shapes == Shapes::kWhole
                                                             ? part->whole_shape
                                                             : parameter.value.sizes().vec()});
    }
  }
  return specs;
}

}  // namespace

bool is_lora_target(const std::string& name, const std::vector<std::string>& target_modules) {
  if (name.find("embedder") != std::string::npos) return false;
  const std::string other_name = fastvideo_name(name);
  return std::any_of(target_modules.begin(), target_modules.end(), [&](const std::string& target) {
    return name.find(target) != std::string::npos || other_name.find(target) != std::string::npos;
  });
}

std::vector<ParameterGroupSpec> lora_parameter_specs(const std::vector<ParameterGroupSpec>& base,
                                                     const LoraOptions& options) {
  if (options.rank <= 0) fail<ConfigError>("lora.rank: must be above 0, but got {}", options.rank);
  std::vector<ParameterGroupSpec> groups;
  for (const ParameterGroupSpec& base_group : base) {
    ParameterGroupSpec group{base_group.name, {}};
    for (const TensorSpec& parameter : base_group.parameters) {
      const auto& shape = parameter.shape;
      const auto layer = linear_layer(parameter);
      if (!layer || !is_lora_target(*layer, options.target_modules)) continue;
      group.parameters.push_back({*layer + kLoraSuffixA, {options.rank, shape[1]}});
      group.parameters.push_back({*layer + kLoraSuffixB, {shape[0], options.rank}});
    }
    if (!group.parameters.empty()) groups.push_back(std::move(group));
  }
  if (groups.empty()) {
    fail<ConfigError>(
        "lora.target_modules: must match a linear layer of the network, but none of {} does; "
        "layers "
        "are named like blocks.0.attn1.to_q, blocks.0.attn2.to_out.0, blocks.0.ffn.net.2, and a "
        "target is a part of such a name",
        options.target_modules);
  }
  return groups;
}

std::vector<ParameterGroupSpec> lora_parameter_specs(const ParameterStore& base,
                                                     const LoraOptions& options) {
  return lora_parameter_specs(group_specs(base, Shapes::kOfThisRank), options);
}

LoraAdapters::LoraAdapters(const ParameterStore& base, LoraOptions options)
    : options_(std::move(options)),
      parameters_(lora_parameter_specs(base, options_), trainable(base.options())) {
  parameters_.declare_parts(lora_parameter_specs(group_specs(base, Shapes::kWhole), options_),
                            base.part_index());
}

std::optional<LowRankParameters> LoraAdapters::find(const std::string& name) const {
  if (!parameters_.contains(name + kLoraSuffixA)) return std::nullopt;
  return LowRankParameters{&parameters_.at(name + kLoraSuffixA),
                           &parameters_.at(name + kLoraSuffixB), options_.scale()};
}

bool LoraAdapters::adapts(const std::string& group_name) const {
  const auto& groups = parameters_.groups();
  return std::any_of(groups.begin(), groups.end(),
                     [&](const ParameterGroup& group) { return group.name == group_name; });
}

void LoraAdapters::expect_gradients() {
  for (size_t i = 0; i < parameters_.groups().size(); ++i) {
    parameters_.residency().hold(i);
    parameters_.groups()[i].gradient_is_zero = false;
  }
}

void LoraAdapters::initialize(RandomSource& random) {
  for (const TensorSpec& spec : parameters_.whole_specs()) {
    at::Tensor value = at::zeros(spec.shape);
    if (spec.name.ends_with(kLoraSuffixA)) {
      const double bound = 1.0 / std::sqrt(static_cast<double>(spec.shape[1]));
      const std::string purpose = "lora.init." + spec.name;
      value = random.uniform({purpose, {}, 0}, spec.shape).mul_(2 * bound).sub_(bound);
    }
    parameters_.load({{spec.name, value}});
  }
}

}  // namespace zoetrope
