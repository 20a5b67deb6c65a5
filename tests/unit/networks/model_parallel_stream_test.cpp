// Streaming with a network whose tokens or layers several ranks share, each with a cache of its
// share of the heads: what one rank gives, chunk by chunk and in rollouts with gradient.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/ranks.h"
#include "support/small_network.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"

namespace zoetrope::test {
namespace {

struct SharedStreamCase {
  const char* name = "";
  CausalAttention attention;
  int64_t ranks = 2;  ///< that share the tokens
  int64_t tensor_ranks = 1;
  bool steered = false;
  Checkpointing checkpointing = Checkpointing::kNone;
  Implementation implementation = Implementation::kFastest;
};

WanTransformerConfig stream_config(bool steered) {
  WanTransformerConfig config = small_network(/*num_heads=*/4);
  if (steered) make_game_network(config, {1}, /*is_causal=*/true);
  return config;
}

constexpr int64_t kNumFrames = 9;

/// Weights and a clip; made once, because threads share ATen's generator.
struct StreamStart {
  explicit StreamStart(const SharedStreamCase& c) {
    WanTransformer network(stream_config(c.steered), {});
    at::manual_seed(12);
    weights = random_weights(network.parameters().specs());
    clip.hidden_BCTHW = at::randn({2, 4, kNumFrames, 2, 6});
    clip.timestep = at::rand({2, kNumFrames}) * 1000;
    const at::Tensor tokens = at::randn({2, 9, 10});
    tokens.narrow(1, 5, 4).zero_();
    (c.steered ? clip.image_BLE : clip.text_BLE) = tokens;
    if (c.steered) {
      const int64_t num_rows = 4 * (kNumFrames - 1) + 1;
      clip.actions = {at::randn({2, num_rows, 3}), at::randn({2, num_rows, 2})};
    }
    loss_weight = at::randn_like(clip.hidden_BCTHW);
  }

  NamedTensors weights;
  WanTransformerInputs clip;
  at::Tensor loss_weight;
};

struct Rollout {
  std::vector<at::Tensor> outputs;          ///< of reading, differentiable and storing passes
  std::vector<at::Tensor> input_gradients;  ///< of each chunk
  NamedTensors gradients;                   ///< of parameters, summed over sequence ranks
  StateDict state;                          ///< of the cache at the end
  int64_t bytes_per_frame = 0;
};

/// Every chunk is read without gradient, predicted with gradient, and stored; the backward pass
/// comes when all is stored. From `resumed` on when that is not empty.
Rollout roll_out(const SharedStreamCase& c, const StreamStart& start, const Mesh& mesh,
                 const StateDict& resumed = {}) {
  WanTransformer network(stream_config(c.steered), {at::kCPU, at::kFloat, true}, mesh.tensor);
  network.parameters().load(start.weights);
  network.set_implementation(c.implementation);
  network.set_checkpointing(c.checkpointing);
  network.set_sequence_group(mesh.sequence);
  KeyValueCache cache("cache", network.config(), c.attention, kNumFrames, mesh.sequence,
                      mesh.tensor);
  cache.load_state_dict(resumed, c.steered ? start.clip.image_BLE : start.clip.text_BLE,
                        at::TensorOptions().dtype(at::kFloat));
  Rollout rollout;
  at::Tensor loss = at::zeros({});
  const int64_t size = c.attention.num_frames_per_block;
  for (int64_t begin = cache.end_frame(); begin + size <= kNumFrames; begin += size) {
    WanTransformerInputs chunk = start.clip;
    chunk.hidden_BCTHW = start.clip.hidden_BCTHW.narrow(2, begin, size).clone();
    chunk.timestep = start.clip.timestep.narrow(1, begin, size);
    const auto pass = [&](bool store) {
      rollout.outputs.push_back(streaming_forward(network, chunk, cache, {begin, store}));
    };
    {
      const at::NoGradGuard no_grad;
      pass(/*store=*/false);
    }
    chunk.hidden_BCTHW.set_requires_grad(true);
    pass(/*store=*/false);
    loss = loss + (rollout.outputs.back() * start.loss_weight.narrow(2, begin, size)).sum();
    rollout.input_gradients.push_back(chunk.hidden_BCTHW);
    pass(/*store=*/true);
  }
  loss.backward();
  for (at::Tensor& chunk : rollout.input_gradients) chunk = chunk.grad();
  for (const ParameterGroup& parameters : network.parameters().groups()) {
    mesh.sequence->all_reduce_sum(parameters.flat_gradient).wait();
    for (const Parameter& parameter : parameters.parameters)
      rollout.gradients.emplace_back(parameter.name, parameter.gradient);
  }
  rollout.state = cache.state_dict();
  rollout.bytes_per_frame = cache.bytes_per_frame({2, 1, 3}, at::kFloat);
  return rollout;
}

void expect_equal_rollouts(const Mesh& mesh, const Rollout& shared, const Rollout& one) {
  ASSERT_EQ(shared.outputs.size(), one.outputs.size());
  for (size_t i = 0; i < one.outputs.size(); ++i)
    EXPECT_TENSOR_CLOSE(shared.outputs[i], one.outputs[i], 2e-6) << i;
  for (size_t i = 0; i < one.input_gradients.size(); ++i)
    EXPECT_TENSOR_CLOSE(shared.input_gradients[i], one.input_gradients[i], 1e-5) << i;
  for (size_t i = 0; i < one.gradients.size(); ++i) {
    const auto& [name, whole] = one.gradients[i];
    const at::Tensor& own = shared.gradients[i].second;
    EXPECT_TENSOR_CLOSE(own, part_of(mesh.tensor, whole, own.sizes()), 2e-5) << name;
  }
  for (const auto& [name, tensor] : one.state.tensors)
    EXPECT_TENSOR_CLOSE(shared.state.tensor(name), tensor, 2e-6) << name;
}

class SharedStream : public testing::TestWithParam<SharedStreamCase> {};

TEST_P(SharedStream, IsThatOfOneRank) {
  const SharedStreamCase& c = GetParam();
  const StreamStart start(c);
  const Rollout one = roll_out(c, start, {});
  const MeshSizes sizes{.shard = c.ranks, .sequence = c.ranks, .tensor = c.tensor_ranks};
  run_ranks(sizes, [&](const Mesh& mesh) {
    const Rollout shared = roll_out(c, start, mesh);
    expect_equal_rollouts(mesh, shared, one);
    if (!c.steered) {
      EXPECT_EQ(shared.bytes_per_frame * c.ranks * c.tensor_ranks, one.bytes_per_frame);
    }
  });
}

CausalAttention window(int64_t block, std::optional<int64_t> frames, int64_t sinks,
                       RotaryPolicy policy = RotaryPolicy::kAbsolute) {
  return {.num_frames_per_block = block,
          .local_attn_size = frames,
          .sink_size = sinks,
          .rotary_policy = policy};
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SharedStream,
    testing::Values(
        SharedStreamCase{.name = "Unbounded", .attention = window(3, std::nullopt, 0)},
        SharedStreamCase{.name = "SinkAndWindow", .attention = window(3, 5, 1), .ranks = 4},
        SharedStreamCase{.name = "Plain",
                         .attention = window(3, 5, 1),
                         .ranks = 4,
                         .implementation = Implementation::kPlain},
        SharedStreamCase{.name = "PlainRecomputed",
                         .attention = window(1, 4, 1),
                         .checkpointing = Checkpointing::kFull,
                         .implementation = Implementation::kPlain},
        SharedStreamCase{.name = "Recomputed",
                         .attention = window(1, 4, 1),
                         .ranks = 4,
                         .checkpointing = Checkpointing::kFull},
        SharedStreamCase{.name = "RelativePositions",
                         .attention = window(3, 5, 1, RotaryPolicy::kRelative),
                         .ranks = 4},
        SharedStreamCase{.name = "Actions", .attention = window(3, 5, 1), .steered = true},
        SharedStreamCase{.name = "ActionsRecomputed",
                         .attention = window(1, 4, 1),
                         .ranks = 4,
                         .steered = true,
                         .checkpointing = Checkpointing::kFull},
        SharedStreamCase{.name = "Tensor",
                         .attention = window(3, 5, 1),
                         .ranks = 1,
                         .tensor_ranks = 2,
                         .implementation = Implementation::kPlain},
        SharedStreamCase{.name = "SequenceAndTensor",
                         .attention = window(3, 5, 1),
                         .ranks = 2,
                         .tensor_ranks = 2,
                         .checkpointing = Checkpointing::kFull,
                         .implementation = Implementation::kPlain}),
    [](const auto& parameter) { return parameter.param.name; });

// What one layout of ranks has stored, another goes on with.
TEST(SharedStreamState, GoesOnWithAnyNumberOfRanks) {
  for (const Implementation implementation : {Implementation::kFastest, Implementation::kPlain}) {
    const bool plain = implementation == Implementation::kPlain;
    const SharedStreamCase c{
        .name = "State", .attention = window(3, 5, 1), .implementation = implementation};
    const StreamStart start(c);
    WanTransformer network(stream_config(false), {});
    network.parameters().load(start.weights);
    network.set_implementation(implementation);
    const StateDict state = [&] {
      KeyValueCache cache("cache", network.config(), c.attention, kNumFrames);
      WanTransformerInputs chunk = start.clip;
      chunk.hidden_BCTHW = start.clip.hidden_BCTHW.narrow(2, 0, 3);
      chunk.timestep = start.clip.timestep.narrow(1, 0, 3);
      streaming_forward(network, chunk, cache, {0, true});
      return cache.state_dict();
    }();
    const Rollout one = roll_out(c, start, {}, state);
    EXPECT_EQ(one.input_gradients.size(), 2);
    run_ranks({.shard = 2, .sequence = 2, .tensor = plain ? 2 : 1}, [&](const Mesh& mesh) {
      expect_equal_rollouts(mesh, roll_out(c, start, mesh, state), one);
    });
  }
}

}  // namespace
}  // namespace zoetrope::test
