// The one place that knows every name: which `_target_` builds what. A new model or method adds a
// line here.
#pragma once

#include "zoetrope/train/component_registries.h"
#include "zoetrope/train/run_config.h"

namespace zoetrope {

/// All targets that a config may name, those that are not built yet included.
struct Catalog {
  ComponentRegistries registries;

  Catalog();
  TargetTables tables() const {
    return {registries.models, registries.methods, registries.callbacks};
  }
};

}  // namespace zoetrope
