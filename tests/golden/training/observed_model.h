// Models that note what a method asks of them: every pass of the network with its inputs and its
// velocity, and every prepared batch.
#pragma once

#include <string>
#include <vector>

#include "zoetrope/models/causal_model.h"

namespace zoetrope::test {

/// One pass of a role's network, as the method asked for it.
struct NetworkCall {
  bool is_streaming = false;
  bool store_kv = false;
  int64_t start_frame = 0;
  at::Tensor noisy_BTCHW;
  at::Tensor timestep;
  at::Tensor velocity_BTCHW = {};
  at::Tensor clean_BTCHW = {};  ///< of teacher forcing; undefined otherwise
};

/// What a model was asked for, in order.
struct ModelLog {
  std::vector<NetworkCall> calls;
  std::vector<TrainingBatch> batches;
};

class ObservedModel {
 public:
  virtual ~ObservedModel() = default;
  ModelLog& log() { return log_; }

 protected:
  /// Adds the call and returns its velocity.
  at::Tensor note(NetworkCall call, at::Tensor velocity_BTCHW) {
    call.noisy_BTCHW = call.noisy_BTCHW.detach();
    call.velocity_BTCHW = velocity_BTCHW.detach();
    log_.calls.push_back(std::move(call));
    return velocity_BTCHW;
  }

 private:
  ModelLog log_;
};

template <class Model>
class Observed : public Model, public ObservedModel {
 public:
  using Model::Model;
  TrainingBatch prepare_batch(const Batch& raw, LatentsSource source) override {
    log().batches.push_back(Model::prepare_batch(raw, source));
    return log().batches.back();
  }
  at::Tensor predict_noise(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                           const Conditioning& conditioning) override {
    return note({.noisy_BTCHW = noisy_BTCHW, .timestep = timestep},
                Model::predict_noise(noisy_BTCHW, timestep, conditioning));
  }
};

template <class Model>
class ObservedCausal : public Observed<Model> {
 public:
  using Observed<Model>::Observed;
  at::Tensor predict_noise_streaming(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                     const Conditioning& conditioning,
                                     const StreamingOptions& options) override {
    return this->note({.is_streaming = true,
                       .store_kv = options.store_kv,
                       .start_frame = options.cur_start_frame,
                       .noisy_BTCHW = noisy_BTCHW,
                       .timestep = timestep},
                      Model::predict_noise_streaming(noisy_BTCHW, timestep, conditioning, options));
  }
  at::Tensor predict_noise_teacher_forced(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                          const Conditioning& conditioning,
                                          const at::Tensor& clean_BTCHW) override {
    return this->note(
        {.noisy_BTCHW = noisy_BTCHW, .timestep = timestep, .clean_BTCHW = clean_BTCHW},
        Model::predict_noise_teacher_forced(noisy_BTCHW, timestep, conditioning, clean_BTCHW));
  }
};

}  // namespace zoetrope::test
