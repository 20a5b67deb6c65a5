#include "zoetrope/models/lora_config.h"

namespace zoetrope {

void LoraConfig::describe(config::Schema<LoraConfig>& schema) {
  schema.field("enable", &LoraConfig::enable,
               "Whether the role trains adapters; its own weights then stay as they are.");
  schema.field("rank", &LoraConfig::rank, "Rank of every adapter; required when enabled.",
               config::at_least(1));
  schema.field("alpha", &LoraConfig::alpha,
               "The adapters' output is scaled by alpha / rank; null is the rank.",
               config::greater_than(0.0));
  schema.field("target_modules", &LoraConfig::target_modules,
               "A linear layer gets an adapter when its name (Diffusers' or FastVideo's) contains "
               "one of these; the condition embedders never do.",
               config::not_empty());
  schema.field(
      "init_from", &LoraConfig::init_from,
      "Adapter file (pytorch_lora_weights.safetensors), or the folder that holds it, to go "
      "on from; null starts anew.");
  schema.check(
      [](const LoraConfig& lora, const config::Node& node, const config::ReadContext& context) {
        if (!lora.enable) return;
        const auto refuse = [&](const char* key, const char* message) {
          config::refuse(node, {context.issues, config::child_path(context.path, key)}, message);
        };
        if (!lora.rank) refuse("rank", "must be given when lora.enable is true, but is missing");
        if (lora.target_modules.empty())
          refuse("target_modules", "must name a layer when lora.enable is true, but is empty");
      });
}

LoraOptions LoraConfig::options() const {
  return {*rank, alpha.value_or(static_cast<double>(*rank)), target_modules};
}

}  // namespace zoetrope
