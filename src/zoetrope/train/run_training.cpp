#include "zoetrope/train/run_training.h"

#include <csignal>
#include <filesystem>
#include <optional>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/folder_lock.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/staging_folder.h"
#include "zoetrope/base/stop_signal.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/tensor/memory_count.h"
#include "zoetrope/tracking/trackers.h"
#include "zoetrope/train/builder.h"
#include "zoetrope/train/run_checkpoints.h"
#include "zoetrope/train/run_plan.h"
#include "zoetrope/train/trainer.h"
#include "zoetrope/train/update_summary.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

void log_run(const RunConfig& config, TrainingMethod& method, const TrainingData& data,
             const Mesh& mesh) {
  const TrainingConfig& training = config.training;
  for (const auto& [role, model] : method.roles().all()) {
    log_info("{}: {} with {:.3g} M parameters, {}, from {}", role,
             model->trainable() ? "trained" : "frozen",
             static_cast<double>(model->parameters().num_parameters()) * 1e-6,
             training.model.compute_dtype, model->pipeline_folder().string());
  }
  log_info("data: {} samples in {} files", data.dataset->num_rows(), data.dataset->files().size());
  log_info("{}", describe_updates(config));
  log_info("training on {} for {} steps into {}",
           resolve_device(training.distributed.device, mesh.local_rank).str(),
           training.loop.max_train_steps, training.checkpoint.output_dir);
}

void log_stop(const CheckpointConfig& checkpoint, int64_t step, bool saved) {
  if (saved) {
    log_info(
        "stopped after step {}; go on with --training.checkpoint.resume_from_checkpoint latest",
        step);
  } else {
    log_info(
        "stopped after step {}; nothing was saved, since "
        "training.checkpoint.training_state_checkpointing_steps is {}",
        step, checkpoint.training_state_checkpointing_steps);
  }
}

/// The first rank, to which all give their parts, writes the folder.
template <class Weights>
void export_weights(const ModelBase& student, const Weights& weights, const fs::path& folder,
                    bool is_first) {
  const NamedTensors tensors = weights.tensors(/*needed=*/is_first);
  if (!is_first) return;
  StagingFolder staging(folder);
  student.export_pipeline(staging.path(), tensors);
  staging.put_in_place();
}

void export_results(TrainingMethod& method, const RunState& state, const fs::path& output_dir,
                    bool is_first) {
  ModelBase& student = method.student();
  const bool adapters = student.exports_adapters();
  const std::string name = adapters ? "lora" : "diffusers";
  export_weights(student, student.parameters(), output_dir / name, is_first);
  log_info(
      "{}: {}",
      adapters ? "trained adapters (for load_lora_weights)" : "trained pipeline (Diffusers layout)",
      (output_dir / name).string());
  if (state.average == nullptr) return;
  export_weights(student, *state.average, output_dir / (name + "_ema"), is_first);
  log_info("the same with averaged weights: {}", (output_dir / (name + "_ema")).string());
}

/// Ranks other than the first have no trackers.
std::unique_ptr<Tracker> make_run_trackers(const RunConfig& config, bool resumed, bool is_first) {
  if (!is_first) return std::make_unique<MultiTracker>();
  return make_trackers(config.training.tracker,
                       {.output_dir = config.training.checkpoint.output_dir,
                        .max_train_steps = config.training.loop.max_train_steps,
                        .config = write_run_config(config),
                        .document = config.raw,
                        .resumed = resumed});
}

}  // namespace

void check_supported(const TrainingConfig& training, const RankEnvironment& environment,
                     config::Issues& issues) {
  const int64_t num_ranks = environment.num_ranks;
  const auto refuse = [&](const std::string& path, const std::string& message) {
    issues.add({}, path, message);
  };
  if (training.distributed.num_gpus != num_ranks) {
    refuse(
        "training.distributed.num_gpus",
        fmt::format(
            "must be the number of processes that were started, {}, but got {}; start as many with "
            "`zoetrope launch --nproc-per-node {} train FILE ...`, or add "
            "--training.distributed.num_gpus {} --training.distributed.hsdp_replicate_dim 1 "
            "--training.distributed.hsdp_shard_dim {}",
            num_ranks, training.distributed.num_gpus, training.distributed.num_gpus, num_ranks,
            num_ranks));
  }
  const CheckpointConfig& checkpoint = training.checkpoint;
  if (checkpoint.output_dir.empty()) {
    refuse("training.checkpoint.output_dir", "must name the run's folder, but is empty");
  }
  try {
    resolve_device(training.distributed.device, environment.local_rank);
  } catch (const ConfigError& error) {
    refuse("", error.what());
  }
}

int run_training(const RunConfig& config, const ComponentRegistries& registries,
                 Rendezvous& rendezvous) {
  const fs::path output_dir = config.training.checkpoint.output_dir;
  std::optional<FolderLock> lock;
  if (rendezvous.is_first()) lock.emplace(output_dir);
  const auto mesh = std::make_shared<const Mesh>(rendezvous.form_mesh(
      mesh_sizes(config.training.distributed),
      resolve_device(config.training.distributed.device, rendezvous.environment().local_rank)));

  RunCheckpoints checkpoints(checkpoint_options(config, mesh, rendezvous.make_message_board()));
  const auto tracker = make_run_trackers(config, checkpoints.resuming(), rendezvous.is_first());
  if (rendezvous.is_first()) {
    write_file_atomically(output_dir / "config.yaml", config::write_yaml(write_run_config(config)));
  }
  if (rendezvous.is_first()) {
    log_memory_plan(config, {registries.models, registries.methods, registries.callbacks},
                    resolve_device(config.training.distributed.device, mesh->local_rank),
                    rendezvous.environment().local_num_ranks);
  }
  count_cpu_memory();
  KeyedRandomSource random(config.training.data.seed);
  const auto method = build_method(config, registries, random, mesh);
  const TrainingData data = build_data(config, *method, *mesh);
  NamedCallbacks callbacks = build_callbacks(config, registries, *method, mesh);
  log_run(config, *method, data, *mesh);

  Trainer trainer(
      {config.training.loop.max_train_steps, config.training.loop.gradient_accumulation_steps},
      {*method, *data.loader, callbacks, *tracker, checkpoints, mesh});
  trainer.run();
  tracker->finish();
  if (trainer.state().step < config.training.loop.max_train_steps) {
    log_stop(config.training.checkpoint, trainer.state().step, checkpoints.enabled());
    // Another rank's signal stops this one, too.
    return StopSignal::received() != 0 ? StopSignal::received() : SIGTERM;
  }
  export_results(*method, trainer.state(), output_dir, rendezvous.is_first());
  log_info("metrics, validation videos and config: {}", output_dir.string());
  return 0;
}

}  // namespace zoetrope
