#include "golden/training/ignored_options.h"

#include "zoetrope/config/overrides.h"

namespace zoetrope::test {

void apply_as_the_reference_does(config::Node& document, const Catalog& catalog) {
  std::vector<std::string> overrides;
  const config::Node& method = *document.find("method");
  const config::Target* target = catalog.registries.methods.find(method.find("_target_")->text());
  if (target != nullptr && target->class_name() == "SelfForcingMethod") {
    overrides.insert(overrides.end(),
                     {"--method.min_timestep_ratio=0", "--method.max_timestep_ratio=1"});
  }
  if (method.find("teacher_guidance_scale") != nullptr)
    overrides.emplace_back("--method.teacher_guidance_scale=1");
  const config::Node* least = document.find("training")->find("optimizer")->find("min_lr_ratio");
  if (least != nullptr && std::stod(least->text()) == 0.0)
    overrides.emplace_back("--training.optimizer.min_lr_ratio=0.5");
  config::apply_overrides(document, overrides);
}

}  // namespace zoetrope::test
