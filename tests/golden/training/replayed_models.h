// The models of a replayed run: those that its config names, observed, and with the timesteps of
// the reference's networks.
#pragma once

#include "golden/training/observed_model.h"
#include "zoetrope/catalog.h"
#include "zoetrope/methods/method.h"

namespace zoetrope::test {

/// Adds a replayed model to the catalog for each one that is built.
void add_replayed_models(Catalog& catalog);

/// Has the run's roles built from the models of add_replayed_models().
void use_replayed_models(const Catalog& catalog, RunConfig& config);

/// What the role's model, one of the above, was asked for.
ModelLog& log_of(ModelBase& model);

}  // namespace zoetrope::test
