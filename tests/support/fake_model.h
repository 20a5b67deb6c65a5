// A model of two parameters, whose every number can be worked out by hand: velocity = scale * noisy
// + offset.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/models/model.h"

namespace zoetrope::test {

class FakeModel : public virtual ModelBase {
 public:
  explicit FakeModel(RandomSource& random, bool trainable = true)
      : random_(random),
        trainable_(trainable),
        parameters_({{"root", {{"scale", {1}}, {"offset", {1}}}}},
                    {at::kCPU, at::kFloat, trainable}),
        schedule_(make_training_schedule(3.0, at::kCPU)) {
    parameters_.load({{"scale", at::full({1}, 0.5)}, {"offset", at::full({1}, 0.25)}});
  }

  bool trainable() const override { return trainable_; }
  ParameterStore& parameters() override { return parameters_; }
  const std::filesystem::path& pipeline_folder() const override { return folder_; }
  void init_preprocessors() override {}
  void encode_negative_prompt() override { has_negative_prompt = true; }
  std::string data_type() const override { return data; }

  TrainingBatch prepare_batch(const Batch& raw, LatentsSource /*source*/) override {
    TrainingBatch batch;
    batch.latents_BTCHW = raw.vae_latent_BCTHW.transpose(1, 2).contiguous();
    if (data == "t2v") batch.data_latents_BTCHW = batch.latents_BTCHW;
    batch.conditional.text_embedding_BLD = at::ones({raw.batch_size(), 1, 1});
    if (has_negative_prompt)
      batch.unconditional.text_embedding_BLD = at::zeros({raw.batch_size(), 1, 1});
    batch.noise_BTCHW = random_.normal({"noise", raw.sample_indices}, batch.latents_BTCHW.sizes());
    const at::Tensor draws_B =
        random_.uniform({"timestep", raw.sample_indices}, {raw.batch_size()});
    const at::Tensor index_B = position_to_index(draws_B, schedule_.size());
    batch.timesteps_B = schedule_.timesteps().index_select(0, index_B);
    batch.sigmas_B = schedule_.sigmas().index_select(0, index_B);
    batch.noisy_latents_BTCHW =
        add_noise(batch.latents_BTCHW, batch.noise_BTCHW, batch.timesteps_B);
    batch.sample_indices = raw.sample_indices;
    return batch;
  }
  at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                           const Conditioning& /*conditioning*/) override {
    ++num_forwards;
    forwards.push_back(
        {noisy_BTCHW.size(0), at::GradMode::is_enabled(), timestep.flatten()[0].item<double>()});
    return parameters_.value("scale") * noisy_BTCHW + parameters_.value("offset") + poison;
  }
  at::Tensor predict_x0(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                        const Conditioning& conditioning) override {
    const at::Tensor sigma_B = schedule_.sigma_at(timestep);
    return noisy_BTCHW -
           sigma_B.view({-1, 1, 1, 1, 1}) * predict_noise(noisy_BTCHW, timestep, conditioning);
  }
  at::Tensor add_noise(const at::Tensor& clean_BTCHW, const at::Tensor& noise_BTCHW,
                       const at::Tensor& timestep) const override {
    return schedule_.add_noise(clean_BTCHW, noise_BTCHW, timestep);
  }
  const FlowMatchSchedule& noise_schedule() const override { return schedule_; }
  int64_t num_tokens(at::IntArrayRef shape) const override { return shape[0] * shape[1]; }
  DenoisingNetwork denoising_network() override { return {}; }
  void export_pipeline(const std::filesystem::path& /*folder*/,
                       const NamedTensors& /*weights*/) const override {}

  /// What a forward was asked for.
  struct Forward {
    int64_t num_rows = 0;
    bool with_grad = false;
    double timestep = 0.0;  ///< of the first row and frame
    int64_t first_frame = 0;
    bool stores_context = false;
  };

  std::string data = "t2v";
  int64_t num_forwards = 0;
  std::vector<Forward> forwards;
  bool has_negative_prompt = false;
  double poison = 0.0;  ///< added to every prediction

 private:
  RandomSource& random_;
  bool trainable_;
  ParameterStore parameters_;
  FlowMatchSchedule schedule_;
  std::filesystem::path folder_ = "fake";
};

}  // namespace zoetrope::test
