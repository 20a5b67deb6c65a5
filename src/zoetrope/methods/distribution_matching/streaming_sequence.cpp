#include "zoetrope/methods/distribution_matching/streaming_sequence.h"

#include <ATen/ATen.h>

namespace zoetrope {
namespace {

void add_tensor(StateDict& state, const std::string& name, const at::Tensor& tensor) {
  if (tensor.defined()) state.tensors.emplace_back(name, copy_for_checkpoint(tensor));
}

/// Undefined when there is none. A copy: stored tensors may be views of a file.
at::Tensor restored(const StateDict& state, const std::string& name, at::Device device) {
  const at::Tensor stored = state.find_tensor(name);
  if (!stored.defined()) return {};
  return stored.to(stored.options().device(device), /*non_blocking=*/false, /*copy=*/true);
}

void add_conditioning(StateDict& state, const std::string& prefix,
                      const Conditioning& conditioning) {
  for (const auto& [name, member] : kConditions)
    add_tensor(state, prefix + name, conditioning.*member);
}

Conditioning restored_conditioning(const StateDict& state, const std::string& prefix,
                                   at::Device device) {
  Conditioning conditioning;
  for (const auto& [name, member] : kConditions)
    conditioning.*member = restored(state, prefix + name, device);
  return conditioning;
}

}  // namespace

StateDict sequence_state(const StreamingSequence& sequence) {
  const TrainingBatch& batch = sequence.batch;
  StateDict state;
  state.scalars = {{"stage", sequence.stage},
                   {"length", sequence.length},
                   {"num_frames", batch.latents_BTCHW.size(1)}};
  add_tensor(state, "previous", sequence.previous_BTCHW);
  add_tensor(state, "sample_indices", at::tensor(batch.sample_indices, at::kLong));
  add_tensor(state, "data_latents", batch.data_latents_BTCHW);
  add_conditioning(state, "conditional.", batch.conditional);
  add_conditioning(state, "unconditional.", batch.unconditional);
  return state;
}

StreamingSequence restore_sequence(const StateDict& state, at::Device device) {
  StreamingSequence sequence;
  sequence.stage = state.scalar<int64_t>("stage");
  sequence.length = state.scalar<int64_t>("length");
  sequence.previous_BTCHW = restored(state, "previous", device);
  TrainingBatch& batch = sequence.batch;
  const at::Tensor samples_B = state.tensor("sample_indices");
  const auto* samples = samples_B.const_data_ptr<int64_t>();
  batch.sample_indices.assign(samples, samples + samples_B.size(0));
  std::vector<int64_t> shape = state.tensor("previous").sizes().vec();
  shape[1] = state.scalar<int64_t>("num_frames");
  batch.latents_BTCHW = at::zeros(shape, sequence.previous_BTCHW.options());
  batch.data_latents_BTCHW = restored(state, "data_latents", device);
  batch.conditional = restored_conditioning(state, "conditional.", device);
  batch.unconditional = restored_conditioning(state, "unconditional.", device);
  return sequence;
}

}  // namespace zoetrope
