// The names that a config may use, by kind. Filled by the catalog of the application; everything
// below works on whatever is registered.
#pragma once

#include "zoetrope/callbacks/callback.h"
#include "zoetrope/config/registry.h"
#include "zoetrope/methods/method.h"
#include "zoetrope/models/model.h"

namespace zoetrope {

struct ComponentRegistries {
  config::Registry<ModelBase, const ModelContext&> models{"model"};
  config::Registry<TrainingMethod, MethodContext> methods{"method"};
  config::Registry<Callback, const CallbackContext&> callbacks{"callback"};
};

}  // namespace zoetrope
