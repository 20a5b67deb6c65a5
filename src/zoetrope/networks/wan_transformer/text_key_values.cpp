#include "zoetrope/networks/wan_transformer/text_key_values.h"

#include <ATen/ATen.h>

namespace zoetrope {

StateDict TextKeyValues::state_dict() const {
  StateDict state;
  state.scalars = {{"merged_padding", merged_padding}, {"last_text_count", last_text_count}};
  state.tensors.emplace_back("embedding", copy_for_checkpoint(text_BLD));
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (!blocks[i].values.defined()) continue;
    state.tensors.emplace_back(fmt::format("keys.{}", i), copy_for_checkpoint(blocks[i].keys));
    state.tensors.emplace_back(fmt::format("values.{}", i), copy_for_checkpoint(blocks[i].values));
  }
  return state;
}

void TextKeyValues::load_state_dict(const StateDict& state, const at::Tensor& text_BLE,
                                    size_t num_blocks, at::Device device) {
  const auto restored = [device](const at::Tensor& stored) {
    return stored.to(stored.options().device(device), /*non_blocking=*/false, /*copy=*/true);
  };
  *this = {text_BLE,
           text_BLE._version(),
           state.scalar<bool>("merged_padding"),
           restored(state.tensor("embedding")),
           state.scalar<int64_t>("last_text_count"),
           {}};
  blocks.resize(num_blocks);
  for (size_t i = 0; i < num_blocks; ++i) {
    const at::Tensor keys = state.find_tensor(fmt::format("keys.{}", i));
    if (!keys.defined()) continue;
    blocks[i] = {restored(keys), restored(state.tensor(fmt::format("values.{}", i)))};
  }
}

}  // namespace zoetrope
