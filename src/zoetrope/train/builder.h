// From a checked config to the objects of a run: role models, method, callbacks, loader.
#pragma once

#include <memory>

#include "zoetrope/train/component_registries.h"
#include "zoetrope/train/run_config.h"
#include "zoetrope/train/trainer.h"

namespace zoetrope {

/// How the config arranges the ranks.
MeshSizes mesh_sizes(const DistributedConfig& config);

/// Loads every role in the order of the config and builds the method on them, on the rank that
/// `mesh` says. `random` is borrowed by models and method.
std::unique_ptr<TrainingMethod> build_method(
    const RunConfig& config, const ComponentRegistries& registries, RandomSource& random,
    const std::shared_ptr<const Mesh>& mesh = std::make_shared<const Mesh>());

NamedCallbacks build_callbacks(const RunConfig& config, const ComponentRegistries& registries,
                               TrainingMethod& method,
                               const std::shared_ptr<const Mesh>& mesh = std::make_shared<Mesh>());

/// The rows of training.data and the loader that reads them.
struct TrainingData {
  std::unique_ptr<ParquetDataset> dataset;
  std::unique_ptr<DataLoader> loader;
};

/// The data of training.data, with the columns that the student needs: this rank's share.
TrainingData build_data(const RunConfig& config, TrainingMethod& method, const Mesh& mesh = {});

}  // namespace zoetrope
