#include "zoetrope/train/rank_trial.h"

#include <algorithm>

#include "zoetrope/base/error.h"
#include "zoetrope/distributed/fake_groups.h"
#include "zoetrope/distributed/mesh_traffic.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/tensor/memory_count.h"
#include "zoetrope/tracking/trackers.h"
#include "zoetrope/train/builder.h"

namespace zoetrope {
namespace {

/// Of the config, what belongs to a step and writes nothing.
RunConfig without_output(RunConfig config, const ComponentRegistries& registries) {
  std::erase_if(config.callbacks, [&](const auto& callback) {
    const config::Target* target = callback.second.target;
    return target != registries.callbacks.find("ema") &&
           target != registries.callbacks.find("grad_clip");
  });
  config.training.checkpoint = {};
  return config;
}

}  // namespace

RankTrial try_rank(const RunConfig& given, const ComponentRegistries& registries, int64_t rank,
                   int64_t num_steps) {
  const MeshSizes sizes = mesh_sizes(given.training.distributed);
  if (rank < 0 || rank >= sizes.num_ranks()) {
    fail<ConfigError>("rank: must be one of the layout's {}, counted from 0, but got {}",
                      sizes.num_ranks(), rank);
  }
  const RunConfig config = without_output(given, registries);
  const auto mesh = std::make_shared<const Mesh>(make_mesh(sizes, rank, fake_groups()));
  count_cpu_memory();
  KeyedRandomSource random(config.training.data.seed);
  const auto method = build_method(config, registries, random, mesh);
  const TrainingData data = build_data(config, *method);
  NamedCallbacks callbacks = build_callbacks(config, registries, *method, mesh);
  MultiTracker no_trackers;
  RunCheckpoints no_checkpoints(checkpoint_options(config, mesh));
  Trainer({num_steps, config.training.loop.gradient_accumulation_steps},
          {*method, *data.loader, callbacks, no_trackers, no_checkpoints, mesh})
      .run();
  const c10::Device device = resolve_device(config.training.distributed.device, 0);
  return {static_cast<double>(peak_tensor_bytes(device)), sent_bytes(*mesh)};
}

}  // namespace zoetrope
