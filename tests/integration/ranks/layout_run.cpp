#include "integration/ranks/layout_run.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "support/golden.h"
#include "support/ranks.h"
#include "zoetrope/catalog.h"
#include "zoetrope/config/overrides.h"
#include "zoetrope/distributed/mesh_traffic.h"
#include "zoetrope/models/wan/wan_model.h"
#include "zoetrope/train/builder.h"
#include "zoetrope/train/trainer.h"

namespace zoetrope::test {
RunConfig read_config(const LayoutRun& run, const Catalog& catalog, const std::string& output_dir) {
  config::Node document = config::parse_yaml_file(run.config);
  std::vector<std::string> overrides = {
      "--training.distributed.device=cpu", "--training.model.compute_dtype=fp32",
      fmt::format("--training.loop.max_train_steps={}", run.num_steps),
      fmt::format("--training.loop.gradient_accumulation_steps={}", run.accumulation)};
  if (!output_dir.empty()) {
    overrides.push_back("--training.checkpoint.output_dir=" + output_dir);
    overrides.emplace_back("--training.checkpoint.resume_from_checkpoint=latest");
    overrides.emplace_back("--training.checkpoint.training_state_checkpointing_steps=1000");
  }
  overrides.insert(overrides.end(), run.overrides.begin(), run.overrides.end());
  config::apply_overrides(document, overrides);
  config::Issues issues;
  RunConfig config = read_run_config(document, catalog.tables(), issues);
  issues.throw_if_any();
  std::erase_if(config.callbacks, [&](const auto& callback) {
    return std::find(run.without_callbacks.begin(), run.without_callbacks.end(), callback.first) !=
           run.without_callbacks.end();
  });
  return config;
}

namespace {

LayoutResult train_rank(const LayoutRun& run, const std::string& output_dir, const Mesh& mesh,
                        const std::shared_ptr<MessageBoard>& board) {
  const Catalog catalog;
  const RunConfig config = read_config(run, catalog, output_dir);
  const auto shared_mesh = std::make_shared<const Mesh>(mesh);
  KeyedRandomSource random(config.training.data.seed);
  const auto method = build_method(config, catalog.registries, random, shared_mesh);
  const SafetensorsFile negative("_models/neg.safetensors");
  dynamic_cast<WanModel&>(method->student()).set_negative_text(negative.tensor("embeds"));
  NamedCallbacks callbacks = build_callbacks(config, catalog.registries, *method, shared_mesh);
  const TrainingData data = build_data(config, *method, mesh);
  RecordingTracker tracker;
  RunCheckpoints checkpoints(checkpoint_options(config, shared_mesh, board));
  const auto sent_before = sent_bytes(mesh);
  Trainer({run.num_steps, run.accumulation},
          {*method, *data.loader, callbacks, tracker, checkpoints, shared_mesh})
      .run();
  LayoutResult result{std::move(tracker.values), {}, {}, {}};
  for (const auto& [name, bytes] : sent_bytes(mesh))
    result.sent_bytes[name] = bytes - sent_before.at(name);
  for (const ParameterGroup& group : method->student().parameters().groups())
    result.group_elements.push_back(group.num_elements);
  for (RoleOptimizer* optimizer : method->role_optimizers()) {
    for (const auto& [name, tensor] : optimizer->model().parameters().tensors())
      result.weights[optimizer->role() + "." + name] = tensor.clone();
  }
  return result;
}

}  // namespace

LayoutResult train_on(const MeshSizes& sizes, const LayoutRun& run, const std::string& output_dir) {
  LayoutResult result;
  run_ranks(sizes, [&](const Mesh& mesh, const std::shared_ptr<MessageBoard>& board) {
    LayoutResult own = train_rank(run, output_dir, mesh, board);
    if (mesh.rank == 0) result = std::move(own);
  });
  return result;
}

}  // namespace zoetrope::test
