#include "zoetrope/optim/optimizer_config.h"

#include <vector>

#include <fmt/format.h>

#include "zoetrope/config/text_list.h"

namespace zoetrope {

config::Constraint known_lr_scheduler() {
  return config::one_of({"constant", "constant_with_warmup", "linear", "cosine",
                         "cosine_with_min_lr", "cosine_with_restarts", "polynomial"});
}

void OptimizerConfig::describe(config::Schema<OptimizerConfig>& schema) {
  using config::at_least;
  schema.field("learning_rate", &OptimizerConfig::learning_rate,
               "Peak learning rate of the student; must be given and greater than 0.", at_least(0));
  schema.field("betas", &OptimizerConfig::betas,
               "AdamW's decay rates of the gradient's first and second moment, each in [0, 1); a "
               "list or `\"b1,b2\"`.");
  schema.field(
      "weight_decay", &OptimizerConfig::weight_decay,
      "Decoupled weight decay of every trained parameter, of every optimizer of the method.",
      at_least(0));
  schema.field(
      "lr_scheduler", &OptimizerConfig::lr_scheduler,
      "How the learning rate goes over the role's own updates. `constant` ignores the warm-up.",
      known_lr_scheduler());
  schema.field("lr_warmup_steps", &OptimizerConfig::lr_warmup_steps,
               "Updates over which the rate rises linearly from 0.", at_least(0));
  schema.field("lr_num_cycles", &OptimizerConfig::lr_num_cycles,
               "Restarts of `cosine_with_restarts`.", at_least(0));
  schema.field("lr_power", &OptimizerConfig::lr_power,
               "Exponent of `polynomial`; 1 is a straight line, 0 keeps the rate constant.",
               at_least(0));
  schema.field("min_lr_ratio", &OptimizerConfig::min_lr_ratio,
               "Floor of `cosine_with_min_lr`, as a share of the peak.", config::between(0, 1));
  schema.check([](const OptimizerConfig& optimizer, const config::Node& node,
                  const config::ReadContext& context) {
    constexpr double kPolynomialEnd = 1e-7;
    if (optimizer.lr_scheduler == "polynomial" && optimizer.learning_rate <= kPolynomialEnd) {
      refuse(node, context,
             fmt::format("the rate of 'polynomial' must be greater than its end {}, but got {}",
                         kPolynomialEnd, optimizer.learning_rate));
    }
  });
}

namespace config {

bool Type<AdamBetas>::read(const Node& node, AdamBetas& value, const ReadContext& context) {
  const std::string wanted = "must be two numbers in [0, 1), such as [0.9, 0.999]";
  const Node list = node.is_scalar() ? split_text_list(node) : node;
  if (!list.is_list() || list.items().size() != 2) {
    return refuse(node, context, fmt::format("{}, but got {}", wanted, node.describe()));
  }
  std::vector<double> betas;
  if (!Type<std::vector<double>>::read(list, betas, context)) return false;
  for (const double beta : betas) {
    if (beta >= 0 && beta < 1) continue;
    return refuse(node, context, fmt::format("{}, but got {}", wanted, beta));
  }
  value = {betas[0], betas[1]};
  return true;
}

Node Type<AdamBetas>::write(const AdamBetas& value) {
  return Type<std::vector<double>>::write({value.first, value.second});
}

}  // namespace config
}  // namespace zoetrope
