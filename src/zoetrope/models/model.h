// A model: one network of one role (student, teacher, critic) with its noise schedule, and the
// primitives that methods are made of. Knows no algorithm, no optimizer and no file but its own
// pipeline folder. Source: the training architecture document's ModelBase; FastVideo
// train/models/base.py.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <ATen/core/Tensor.h>

#include "zoetrope/data/batch.h"
#include "zoetrope/diffusion/flow_match_schedule.h"
#include "zoetrope/diffusion/timestep_sampling.h"
#include "zoetrope/distributed/mesh.h"
#include "zoetrope/distributed/sharded_parameters.h"
#include "zoetrope/models/training_batch.h"
#include "zoetrope/tensor/parameter_store.h"
#include "zoetrope/tensor/random_source.h"

namespace zoetrope {

/// What every model of a run shares.
struct ModelContext {
  at::Device device = at::kCPU;
  at::ScalarType compute_dtype = at::kFloat;
  TimestepDensityOptions timestep_density;  ///< density of SFT timesteps (training.model.*)
  std::optional<std::string> gradient_checkpointing;  ///< `full`, or none
  std::string data_type = "t2v";                      ///< training.data.preprocessed_data_type
  int64_t num_latent_frames = 0;                      ///< training.data.num_latent_t
  int64_t num_height = 0;                             ///< pixels
  int64_t num_width = 0;                              ///< pixels
  std::optional<int64_t> local_attn_size;             ///< pipeline.dit_config.*, causal models
  std::optional<int64_t> sink_size;
  RandomSource* random = nullptr;                               ///< borrowed; outlives the models
  std::shared_ptr<const Mesh> mesh = std::make_shared<Mesh>();  ///< the ranks of the run
  ShardingOptions sharding;
  /// Of the parameters that are gathered for use, shared by the models.
  std::shared_ptr<MemoryPool> memory_pool = std::make_shared<MemoryPool>();
};

/// How a network keeps its parameters on this rank of the run.
ParameterStore::Options parameter_options(const ModelContext& context, bool trainable);
/// Connects a store, made with parameter_options() or whole on every rank, with the run's other
/// ranks; nothing for a run of one rank that need not be deterministic.
void connect_parameters(ParameterStore& parameters, const ModelContext& context);

/// Where prepare_batch takes its latents from: the data, or zeros of the configured size (data-free
/// methods).
enum class LatentsSource { kData, kZeros };

class ModelBase {
 public:
  virtual ~ModelBase() = default;

  virtual bool trainable() const = 0;
  /// What training changes: the network's parameters, or those of its adapters.
  virtual ParameterStore& parameters() = 0;
  /// All stores that predict_noise() uses, frozen ones included.
  virtual std::vector<ParameterStore*> parameter_stores() { return {&parameters()}; }
  /// The pipeline folder that the weights came from.
  virtual const std::filesystem::path& pipeline_folder() const = 0;
  /// The same as the config names it: a folder or a Hugging Face name.
  virtual std::string source() const { return pipeline_folder().string(); }

  /// Reads what only the student needs (latent statistics of the VAE). Called once, before the
  /// first batch.
  virtual void init_preprocessors() = 0;
  /// Lets prepare_batch fill TrainingBatch::unconditional with the pipeline's negative prompt; the
  /// text encoder is read and freed again. Called once, by methods that need it.
  virtual void encode_negative_prompt() = 0;
  /// The parquet columns that the run's data has: `t2v` or `text_only`.
  virtual std::string data_type() const = 0;

  /// Moves `raw` to the device, normalises latents, draws noise and timesteps (keyed by sample),
  /// and mixes them.
  virtual TrainingBatch prepare_batch(const Batch& raw, LatentsSource source) = 0;
  /// The network's prediction of the velocity noise - clean at `timestep` ([B], or [B, T] where the
  /// model has per-frame timesteps), BTCHW in and out, compute dtype out.
  virtual at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                   const Conditioning& conditioning) = 0;
  /// Tokens that the network processes for latents of this shape.
  virtual int64_t num_tokens(at::IntArrayRef latents_BTCHW_shape) const = 0;
  /// The network for sampling, with the weights of the moment; valid as long as the model.
  virtual DenoisingNetwork denoising_network() = 0;
  /// What checkpoints call the parameter `name`: FastVideo's name for it.
  virtual std::string checkpoint_name(const std::string& name) const { return name; }
  /// Whether export_pipeline() writes adapters alone.
  virtual bool exports_adapters() const { return false; }
  /// Writes a whole Diffusers folder: the source's other components and `weights` (named as
  /// parameters()) as the transformer. A role that trains adapters writes their file alone.
  virtual void export_pipeline(const std::filesystem::path& folder,
                               const NamedTensors& weights) const = 0;

  /// The role's own table of noise levels (models.<role>.flow_shift).
  virtual const FlowMatchSchedule& noise_schedule() const = 0;
  /// (1 - sigma) clean + sigma noise with the schedule's sigma nearest to `timestep` ([B] or [B,
  /// T]).
  virtual at::Tensor add_noise(const at::Tensor& clean_BTCHW, const at::Tensor& noise_BTCHW,
                               const at::Tensor& timestep) const = 0;
  /// predict_noise, converted to the clean latents.
  virtual at::Tensor predict_x0(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                const Conditioning& conditioning) = 0;
  /// Backpropagates loss / num_accumulation_rounds into the parameters' gradients.
  void backward(const at::Tensor& loss, int64_t num_accumulation_rounds);
};

}  // namespace zoetrope
