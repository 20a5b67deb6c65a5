#include "zoetrope/train/training_config.h"

#include <algorithm>

#include <fmt/format.h>

namespace zoetrope {
namespace {

using config::at_least;
using config::one_of;

void check_mesh(const DistributedConfig& given, const config::Node& node,
                const config::ReadContext& context) {
  DistributedConfig distributed = given;
  distributed.resolve();
  const int64_t replicate = distributed.hsdp_replicate_dim;
  const int64_t shard = *distributed.hsdp_shard_dim;
  const int64_t tensor = distributed.tp_size;
  if (replicate * shard * tensor != distributed.num_gpus) {
    refuse(
        node, context,
        fmt::format("hsdp_replicate_dim * hsdp_shard_dim * tp_size must be num_gpus, but got {} * "
                    "{} * {} with {} GPUs",
                    replicate, shard, tensor, distributed.num_gpus));
  } else if (replicate * shard % *distributed.sp_size != 0) {
    refuse(node, context,
           fmt::format("hsdp_replicate_dim * hsdp_shard_dim must be a multiple of sp_size, but got "
                       "{} * {} and sp_size {}",
                       replicate, shard, *distributed.sp_size));
  }
}

void check_precision(const TrainingConfig& training, const config::Node& node,
                     const config::ReadContext& context) {
  const config::Node* given = node.find("dit_precision");
  if (given == nullptr || training.dit_precision == "fp32") return;
  context.issues.note(given->location(), config::child_path(context.path, "dit_precision"),
                      "has no effect here: master weights are always fp32; "
                      "training.model.compute_dtype says in what "
                      "the network computes");
}

}  // namespace

void DistributedConfig::resolve() {
  if (!sp_size) sp_size = std::max<int64_t>(num_gpus / tp_size, 1);
  if (!hsdp_shard_dim) hsdp_shard_dim = std::max<int64_t>(num_gpus / tp_size, 1);
}

void DistributedConfig::describe(config::Schema<DistributedConfig>& schema) {
  schema.field("num_gpus", &DistributedConfig::num_gpus, "Processes of the run, one per device.",
               at_least(1));
  schema.field("tp_size", &DistributedConfig::tp_size,
               "Tensor-parallel group size: how many processes split each layer.", at_least(1));
  schema.field("sp_size", &DistributedConfig::sp_size,
               "Sequence-parallel group size: how many processes share one sample. Absent or null: "
               "`num_gpus` / `tp_size`, as in FastVideo; write 1 for plain data parallelism.",
               at_least(1));
  schema.field("hsdp_replicate_dim", &DistributedConfig::hsdp_replicate_dim,
               "Groups that each hold a whole copy of the parameters.", at_least(1));
  schema.field(
      "hsdp_shard_dim", &DistributedConfig::hsdp_shard_dim,
      "Processes over which one copy of the parameters is split. Absent or null: `num_gpus` / "
      "`tp_size`.",
      at_least(1));
  schema.field("device", &DistributedConfig::device,
               "Where the run computes (Zoetrope's own key): `auto` takes a GPU when the build and "
               "the machine have one.",
               one_of({"auto", "cpu", "cuda"}));
  schema.field("rendezvous_timeout_sec", &DistributedConfig::rendezvous_timeout_sec,
               "Seconds that processes wait at the start for each other; those that have not come "
               "are named (Zoetrope's own key).",
               config::greater_than(0));
  schema.field("collective_timeout_sec", &DistributedConfig::collective_timeout_sec,
               "Seconds after which an operation between processes fails that one of them does not "
               "take part in; more than what one of them may do alone, such as validation "
               "(Zoetrope's own key).",
               config::greater_than(0));
  schema.without_effect("pin_cpu_memory", "host memory is managed by the loader");
  schema.check(check_mesh);
  schema.field(
      "deterministic", &DistributedConfig::deterministic,
      "The same bits for 1, 2, 4, ... data-parallel or sharded processes when "
      "gradient_accumulation_steps makes up the difference. Costs a second gradient buffer "
      "and an exchange in every micro-batch.");
  schema.field("reduce_dtype", &DistributedConfig::reduce_dtype,
               "How gradients travel between processes; they are summed in fp32.",
               one_of({"fp32", "bf16"}));
}

void LoopConfig::describe(config::Schema<LoopConfig>& schema) {
  schema.required("max_train_steps", &LoopConfig::max_train_steps, "Optimizer steps of the run.",
                  at_least(0));
  schema.field("gradient_accumulation_steps", &LoopConfig::gradient_accumulation_steps,
               "Micro-batches whose gradients are averaged into one optimizer step.", at_least(1));
}

void CheckpointConfig::describe(config::Schema<CheckpointConfig>& schema) {
  schema.required(
      "output_dir", &CheckpointConfig::output_dir,
      "Folder of everything that the run writes: logs, videos, checkpoints, the exported weights.",
      config::not_empty());
  schema.field("resume_from_checkpoint", &CheckpointConfig::resume_from_checkpoint,
               "`latest` (the newest checkpoint of `output_dir`, or a fresh start when there is "
               "none) or a checkpoint "
               "folder; absent, null or empty starts afresh.");
  schema.field("training_state_checkpointing_steps",
               &CheckpointConfig::training_state_checkpointing_steps,
               "Steps between two checkpoints; 0 writes none.", at_least(0));
  schema.field("checkpoints_total_limit", &CheckpointConfig::checkpoints_total_limit,
               "How many of the newest checkpoints are kept; 0 keeps all.", at_least(0));
}

void ModelTrainingConfig::describe(config::Schema<ModelTrainingConfig>& schema) {
  schema.field(
      "weighting_scheme", &ModelTrainingConfig::weighting_scheme,
      "Density from which fine-tuning draws its timesteps; the loss itself is not weighted.",
      one_of({"uniform", "logit_normal", "mode"}));
  schema.field("logit_mean", &ModelTrainingConfig::logit_mean,
               "Mean of `logit_normal` before the sigmoid.");
  schema.field("logit_std", &ModelTrainingConfig::logit_std,
               "Standard deviation of `logit_normal` before the sigmoid.", at_least(0));
  schema.field("mode_scale", &ModelTrainingConfig::mode_scale, "Strength of `mode`; 0 is uniform.");
  schema.field("precondition_outputs", &ModelTrainingConfig::precondition_outputs,
               "Take the loss between clean latents instead of velocities.");
  schema.field("enable_gradient_checkpointing_type",
               &ModelTrainingConfig::enable_gradient_checkpointing_type,
               "`full` recomputes every transformer block in the backward pass to save memory "
               "(`block_skip` means the "
               "same); absent or null keeps all activations.",
               one_of({"full", "block_skip"}));
  schema.field("compute_dtype", &ModelTrainingConfig::compute_dtype,
               "What the networks compute in (Zoetrope's own key); FastVideo always takes bf16. "
               "Master weights and "
               "optimizer state are fp32.",
               one_of({"fp32", "bf16"}));
  schema.without_effect("moba_config", "VMoBA attention is not built; attention is dense");
}

void VsaConfig::describe(config::Schema<VsaConfig>& schema) {
  const std::string reason = "video sparse attention is not built; attention is dense";
  for (const char* key : {"sparsity", "cache_tile_buf", "decay_rate", "decay_interval_steps"}) {
    schema.without_effect(key, reason);
  }
}

void TrainingConfig::describe(config::Schema<TrainingConfig>& schema) {
  schema.field("distributed", &TrainingConfig::distributed,
               "Processes and how parameters and samples are split.");
  schema.required("data", &TrainingConfig::data, "Datasets and the shape of samples.");
  schema.field("optimizer", &TrainingConfig::optimizer, "AdamW and its learning-rate schedule.");
  schema.required("loop", &TrainingConfig::loop, "Length of the run.");
  schema.required("checkpoint", &TrainingConfig::checkpoint, "Where the run writes, and resuming.");
  schema.field("tracker", &TrainingConfig::tracker, "Where metrics and videos are recorded.");
  schema.field("model", &TrainingConfig::model, "What all models of the run share.");
  schema.field("vsa", &TrainingConfig::vsa,
               "FastVideo's video sparse attention; nothing of it has an effect here.");
  schema.field("model_path", &TrainingConfig::model_path,
               "Pipeline folder or Hugging Face name that VAE, text encoder and the export's other "
               "parts come from. "
               "Empty: the student's `init_from`.");
  schema.field("dit_precision", &TrainingConfig::dit_precision,
               "FastVideo's type of the master weights; here they are fp32 whatever it says.",
               one_of({"fp32", "bf16"}));
  schema.check(check_precision);
}

}  // namespace zoetrope
