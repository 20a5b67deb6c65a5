#include "golden/training/replayed_models.h"

#include "golden/training/reference_timesteps.h"
#include "zoetrope/models/wan/wan_i2v_model.h"
#include "zoetrope/models/wan_game/wan_game_causal_model.h"
#include "zoetrope/models/wan_game/wan_game_model.h"

namespace zoetrope::test {
namespace {

const std::string kReplayed = "replayed.";

template <class Model, class Config>
config::Target& add_model(Catalog& catalog, const std::string& name) {
  auto& models = catalog.registries.models;
  return models.add<Model, Config>(kReplayed + models.find(name)->name, {}, "");
}

template <class Model>
void add_causal_model(Catalog& catalog, const std::string& name) {
  add_model<ObservedCausal<WithTruncatedTimesteps<Model>>, WanCausalModelConfig>(catalog, name)
      .causal = true;
}

}  // namespace

void add_replayed_models(Catalog& catalog) {
  add_model<Observed<WanModel>, WanModelConfig>(catalog, "wan");
  add_model<Observed<WanI2VModel>, WanModelConfig>(catalog, "wan_i2v");
  add_model<Observed<WithRoundedTimesteps<WanGameModel>>, WanModelConfig>(catalog, "wan_game");
  add_causal_model<WanCausalModel>(catalog, "wan_causal");
  add_causal_model<WithRoundedTimesteps<WanGameCausalModel>>(catalog, "wan_game_causal");
}

void use_replayed_models(const Catalog& catalog, RunConfig& config) {
  for (auto& [role, component] : config.models) {
    const std::string name = kReplayed + component.target->name;
    component.target = catalog.registries.models.find(name);
    if (component.target == nullptr) throw std::runtime_error("no model " + name);
  }
}

ModelLog& log_of(ModelBase& model) {
  return dynamic_cast<ObservedModel&>(model).log();
}

}  // namespace zoetrope::test
