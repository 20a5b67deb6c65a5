// Streaming a clip chunk by chunk: it equals the whole pass, a reading pass changes nothing, and
// gradients do not depend on what is committed later.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "support/golden.h"
#include "support/small_network.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"
#include "zoetrope/tensor/memory_count.h"

namespace zoetrope::test {
namespace {

using testing::HasSubstr;

constexpr double kTolerance = 1e-5;
constexpr int64_t kBatch = 2;

struct StreamCase {
  const char* name = "";
  CausalAttention attention;
  int64_t num_frames = 0;
  Implementation implementation = Implementation::kFastest;
  Checkpointing checkpointing = Checkpointing::kNone;
  at::ScalarType dtype = at::kFloat;
  bool steered = false;

  WanTransformerConfig config() const {
    WanTransformerConfig config = small_network();
    if (steered) make_game_network(config, {1}, /*is_causal=*/true);
    return config;
  }
};

/// Passes this small only wait for each other on several threads.
struct OneThread {
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before); }
  int before = at::get_num_threads();
};

class CausalStream : public testing::TestWithParam<StreamCase> {
 protected:
  CausalStream() : network_(GetParam().config(), {at::kCPU, GetParam().dtype, true}) {
    network_.set_implementation(GetParam().implementation);
    network_.set_checkpointing(GetParam().checkpointing);
    at::manual_seed(12);
    network_.parameters().load(random_weights(network_.parameters().specs()));
    clip_.hidden_BCTHW = at::randn({kBatch, 4, GetParam().num_frames, 4, 6});
    clip_.timestep = at::rand({kBatch, GetParam().num_frames}) * 1000;
    const at::Tensor tokens = at::randn({kBatch, 9, 10});
    if (GetParam().steered) {
      clip_.image_BLE = tokens;
      const int64_t num_rows = 4 * (GetParam().num_frames - 1) + 1;
      clip_.actions = {at::randn({kBatch, num_rows, 3}), at::randn({kBatch, num_rows, 2})};
      return;
    }
    clip_.text_BLE = tokens;
    clip_.text_BLE[0].narrow(0, 5, 4).zero_();
    clip_.text_BLE[1].narrow(0, 7, 2).zero_();
  }

  KeyValueCache cache(const std::string& name = "cache") const {
    return {name, GetParam().config(), GetParam().attention, GetParam().num_frames};
  }

  /// The clip's frames [begin, begin + num_frames).
  WanTransformerInputs chunk(int64_t begin, int64_t num_frames) const {
    WanTransformerInputs inputs = clip_;
    inputs.hidden_BCTHW = clip_.hidden_BCTHW.narrow(2, begin, num_frames);
    inputs.timestep = clip_.timestep.narrow(1, begin, num_frames);
    return inputs;
  }

  /// Calls `pass(begin, chunk)` for the clip's blocks in order.
  template <class Pass>
  void for_each_block(Pass pass) const {
    const int64_t size = GetParam().attention.num_frames_per_block;
    for (int64_t begin = 0; begin < GetParam().num_frames; begin += size)
      pass(begin, chunk(begin, std::min(size, GetParam().num_frames - begin)));
  }

  double tolerance() const { return GetParam().dtype == at::kFloat ? kTolerance : 2e-2; }

  OneThread one_thread_;
  WanTransformer network_;
  WanTransformerInputs clip_;
};

class SteeredStream : public CausalStream {};

TEST_P(SteeredStream, ActionsBeforeTheWindowsAreNotNeeded) {
  at::NoGradGuard no_grad;
  const ActionConfig action = *GetParam().config().action;
  KeyValueCache whole = cache();
  KeyValueCache windows = cache();
  WanTransformerInputs last;
  int64_t last_begin = 0;
  for_each_block([&](int64_t begin, WanTransformerInputs inputs) {
    const at::Tensor expected = streaming_forward(network_, inputs, whole, {begin, true});
    Actions& actions = inputs.actions;
    actions.first_row = 4 * std::max<int64_t>(begin - action.windows_size, 0);
    actions.keyboard_BFK = clip_.actions.keyboard_BFK.slice(1, actions.first_row);
    actions.mouse_BF2 = clip_.actions.mouse_BF2.slice(1, actions.first_row);
    EXPECT_TRUE(at::equal(streaming_forward(network_, inputs, windows, {begin, true}), expected));
    last = inputs;
    last_begin = begin;
  });
  last.actions.first_row = 4 * (last_begin - action.windows_size) + 1;
  EXPECT_THAT(error_of([&] {
                streaming_forward(network_, last, windows, {last_begin, true});
              }),
              HasSubstr("the actions must begin with pixel frame"));
}

TEST_P(CausalStream, EqualsTheWholePass) {
  at::NoGradGuard no_grad;
  const at::Tensor whole = block_causal_forward(network_, clip_, GetParam().attention);
  KeyValueCache frames = cache();
  std::vector<at::Tensor> parts;
  for_each_block([&](int64_t begin, const WanTransformerInputs& inputs) {
    const at::Tensor read = streaming_forward(network_, inputs, frames, {begin, false});
    parts.push_back(streaming_forward(network_, inputs, frames, {begin, true}));
    EXPECT_TRUE(at::equal(read, parts.back())) << begin;
  });
  EXPECT_TENSOR_CLOSE(at::cat(parts, 2), whole, tolerance());
}

TEST_P(CausalStream, ReadingLeavesTheCacheAsItWas) {
  at::NoGradGuard no_grad;
  KeyValueCache frames = cache();
  for_each_block([&](int64_t begin, const WanTransformerInputs& inputs) {
    WanTransformerInputs other = inputs;
    other.hidden_BCTHW = at::randn_like(inputs.hidden_BCTHW);
    const CachedBlock before = frames.held(1);
    streaming_forward(network_, other, frames, {begin, false});
    const CachedBlock after = frames.held(1);
    EXPECT_EQ(frames.end_frame(), begin);
    if (begin > 0) {
      EXPECT_TRUE(at::equal(before.keys, after.keys) && at::equal(before.values, after.values));
    }
    streaming_forward(network_, inputs, frames, {begin, true});
  });
}

TEST_P(CausalStream, EqualsTeacherForcingOverACleanCache) {
  at::NoGradGuard no_grad;
  WanTransformerInputs forced = clip_;
  forced.clean_BCTHW = at::randn_like(clip_.hidden_BCTHW);
  const at::Tensor whole = block_causal_forward(network_, forced, GetParam().attention);
  KeyValueCache frames = cache();
  std::vector<at::Tensor> parts;
  for_each_block([&](int64_t begin, const WanTransformerInputs& inputs) {
    parts.push_back(streaming_forward(network_, inputs, frames, {begin, false}));
    WanTransformerInputs clean = inputs;
    clean.hidden_BCTHW = forced.clean_BCTHW.narrow(2, begin, inputs.hidden_BCTHW.size(2));
    clean.timestep = at::zeros_like(inputs.timestep);
    streaming_forward(network_, clean, frames, {begin, true});
  });
  EXPECT_TENSOR_CLOSE(at::cat(parts, 2), whole, tolerance());
}

/// The gradient of all parameters and of the clip after a rollout whose passes over a chunk are
/// followed by commits of other frames; `late` runs the backward passes when all is committed and
/// another clip is on its way.
std::pair<at::Tensor, at::Tensor> rollout_gradients(WanTransformer& network, KeyValueCache frames,
                                                    const std::vector<WanTransformerInputs>& chunks,
                                                    bool late) {
  for (ParameterGroup& group : network.parameters().groups()) group.flat_gradient.zero_();
  std::vector<at::Tensor> inputs;
  at::Tensor total = at::zeros({});
  int64_t begin = 0;
  for (const WanTransformerInputs& chunk : chunks) {
    WanTransformerInputs leaf = chunk;
    leaf.hidden_BCTHW = chunk.hidden_BCTHW.detach().clone().set_requires_grad(true);
    inputs.push_back(leaf.hidden_BCTHW);
    at::manual_seed(begin);
    const at::Tensor out = streaming_forward(network, leaf, frames, {begin, false});
    const at::Tensor loss = (out.to(at::kFloat) * at::randn(out.sizes())).sum();
    if (late) {
      total = total + loss;
    } else {
      loss.backward();
    }
    streaming_forward(network, chunk, frames, {begin, true});
    begin += chunk.hidden_BCTHW.size(2);
  }
  if (late) {
    frames.clear();
    WanTransformerInputs other = chunks.front();
    other.hidden_BCTHW = at::randn_like(other.hidden_BCTHW);
    streaming_forward(network, other, frames, {0, true});
    total.backward();
  }
  std::vector<at::Tensor> parameters;
  for (const ParameterGroup& group : network.parameters().groups())
    parameters.push_back(group.flat_gradient.flatten().clone());
  std::vector<at::Tensor> input_gradients;
  for (const at::Tensor& input : inputs) input_gradients.push_back(input.grad());
  return {at::cat(parameters), at::cat(input_gradients, 2)};
}

TEST_P(CausalStream, LaterCommitsDoNotReachGradients) {
  std::vector<WanTransformerInputs> chunks;
  for_each_block([&](int64_t, const WanTransformerInputs& inputs) { chunks.push_back(inputs); });
  const auto [parameters, inputs] = rollout_gradients(network_, cache(), chunks, false);
  const auto [late_parameters, late_inputs] = rollout_gradients(network_, cache(), chunks, true);
  EXPECT_TENSOR_CLOSE(late_inputs, inputs, tolerance());
  EXPECT_TENSOR_CLOSE(late_parameters, parameters, tolerance());
  EXPECT_GT(inputs.narrow(2, GetParam().num_frames - 1, 1).abs().max().item<double>(), 0.0);
  WanTransformer plain(GetParam().config(), {at::kCPU, GetParam().dtype, true});
  plain.set_implementation(Implementation::kPlain);
  for (const TensorSpec& spec : plain.parameters().specs())
    plain.parameters().load({{spec.name, network_.parameters().value(spec.name).detach()}});
  const auto [plain_parameters, plain_inputs] = rollout_gradients(plain, cache(), chunks, true);
  EXPECT_TENSOR_CLOSE(inputs, plain_inputs, 3 * tolerance());
  EXPECT_TENSOR_CLOSE(parameters, plain_parameters, 3 * tolerance());
}

TEST_P(CausalStream, GradientsOfTheWholePassAgreeWithPlainOperations) {
  WanTransformer plain(GetParam().config(), {at::kCPU, GetParam().dtype, true});
  plain.set_implementation(Implementation::kPlain);
  for (const TensorSpec& spec : plain.parameters().specs())
    plain.parameters().load({{spec.name, network_.parameters().value(spec.name).detach()}});
  clip_.clean_BCTHW = at::randn_like(clip_.hidden_BCTHW);
  const at::Tensor weight = at::randn_like(clip_.hidden_BCTHW);
  for (const bool teacher_forcing : {false, true}) {
    std::vector<at::Tensor> gradients;
    for (WanTransformer* network : {&network_, &plain}) {
      WanTransformerInputs inputs = clip_;
      if (!teacher_forcing) inputs.clean_BCTHW = at::Tensor();
      for (ParameterGroup& group : network->parameters().groups()) group.flat_gradient.zero_();
      const at::Tensor out = block_causal_forward(*network, inputs, GetParam().attention);
      (out.to(at::kFloat) * weight).sum().backward();
      for (const ParameterGroup& group : network->parameters().groups())
        gradients.push_back(group.flat_gradient.clone());
    }
    const size_t groups = gradients.size() / 2;
    for (size_t i = 0; i < groups; ++i)
      EXPECT_TENSOR_CLOSE(gradients[i], gradients[groups + i], 3 * tolerance()) << i;
  }
}

// Finite differences know nothing of autograd: the gradient is that of the chunk with the past held
// constant.
TEST_P(CausalStream, GradientIsThatOfTheChunkAlone) {
  if (GetParam().dtype != at::kFloat) GTEST_SKIP() << "bf16 is too coarse for differences";
  KeyValueCache frames = cache();
  const int64_t size = GetParam().attention.num_frames_per_block;
  for (int64_t begin = 0; begin + size < GetParam().num_frames; begin += size)
    streaming_forward(network_, chunk(begin, size), frames, {begin, true});
  const int64_t begin = frames.end_frame();
  WanTransformerInputs last = chunk(begin, GetParam().num_frames - begin);
  at::manual_seed(5);
  const at::Tensor weight = at::randn_like(last.hidden_BCTHW);
  const at::Tensor direction = at::randn_like(last.hidden_BCTHW);
  const at::Tensor input = last.hidden_BCTHW.clone();
  const auto loss_at = [&](double step) {
    at::NoGradGuard no_grad;
    last.hidden_BCTHW = input + step * direction;
    return (streaming_forward(network_, last, frames, {begin, false}).to(at::kDouble) * weight)
        .sum()
        .item<double>();
  };
  constexpr double kStep = 1e-2;
  const double difference = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
  last.hidden_BCTHW = input.clone().set_requires_grad(true);
  (streaming_forward(network_, last, frames, {begin, false}) * weight).sum().backward();
  const double slope = (last.hidden_BCTHW.grad() * direction).sum().item<double>();
  EXPECT_NEAR(slope, difference, 2e-3 * std::abs(difference) + 1e-3);
}

CausalAttention attention(int64_t block, std::optional<int64_t> window = std::nullopt,
                          int64_t sinks = 0) {
  return {.num_frames_per_block = block, .local_attn_size = window, .sink_size = sinks};
}

StreamCase steered_case(const char* name, const CausalAttention& attention,
                        Checkpointing checkpointing = Checkpointing::kNone) {
  return {name, attention, 13, Implementation::kFastest, checkpointing, at::kFloat, true};
}

INSTANTIATE_TEST_SUITE_P(
    Cases, CausalStream,
    testing::Values(
        StreamCase{"FrameByFrame", attention(1), 5}, StreamCase{"BlocksOfThree", attention(3), 7},
        StreamCase{"Window", attention(1, 3), 7}, StreamCase{"WindowOfBlocks", attention(3, 4), 11},
        StreamCase{"Sink", attention(1, 4, 1), 9},
        StreamCase{"SinkAndBlocks", attention(3, 5, 1), 13},
        StreamCase{"TwoSinks", attention(2, 5, 2), 9},
        StreamCase{"PlainSinkAndBlocks", attention(3, 5, 1), 13, Implementation::kPlain},
        StreamCase{"PlainRecomputed", attention(3, 5, 1), 13, Implementation::kPlain,
                   Checkpointing::kFull},
        StreamCase{"Recomputed", attention(3, 5, 1), 13, Implementation::kFastest,
                   Checkpointing::kFull},
        StreamCase{"Bf16", attention(3, 5, 1), 13, Implementation::kFastest, Checkpointing::kNone,
                   at::kBFloat16},
        steered_case("Steered", attention(1)),
        steered_case("SteeredSinkAndBlocks", attention(3, 5, 1)),
        steered_case("SteeredRecomputed", attention(2, 5, 2), Checkpointing::kFull)),
    [](const auto& parameter) { return parameter.param.name; });

INSTANTIATE_TEST_SUITE_P(Cases, SteeredStream,
                         testing::Values(steered_case("Steered", attention(1)),
                                         steered_case("SinkAndBlocks", attention(3, 5, 1))),
                         [](const auto& parameter) { return parameter.param.name; });

/// A network and a clip for what needs no parameters.
class CausalCache : public testing::Test {
 protected:
  CausalCache() : network_(small_network(), {}) {
    initialize_wan_transformer(network_.parameters(), 3);
  }

  WanTransformerInputs chunk(int64_t batch, int64_t num_frames, int64_t rows) const {
    at::manual_seed(1);
    WanTransformerInputs inputs;
    inputs.hidden_BCTHW = at::randn({batch, 4, num_frames, rows, 6});
    inputs.timestep = at::full({batch}, 500.0);
    inputs.text_BLE = at::randn({batch, 3, small_network().text_dim});
    return inputs;
  }

  std::string error(KeyValueCache& frames, const WanTransformerInputs& inputs, int64_t begin) {
    return error_of([&] { streaming_forward(network_, inputs, frames, {begin, true}); });
  }

  OneThread one_thread_;
  at::NoGradGuard no_grad_;
  WanTransformer network_;
};

TEST_F(CausalCache, RefusesAnotherClipUntilItIsCleared) {
  KeyValueCache frames("cache 'pos'", small_network(), attention(2), 6);
  streaming_forward(network_, chunk(1, 2, 4), frames, {0, true});
  EXPECT_THAT(error(frames, chunk(2, 2, 4), 2),
              HasSubstr("cache 'pos': was made for batch 1 of 2 x 3 tokens per frame and must be "
                        "cleared before another clip, but got batch 2 of 2 x 3 tokens"));
  EXPECT_THAT(error(frames, chunk(1, 2, 6), 2), HasSubstr("but got batch 1 of 3 x 3 tokens"));
  frames.clear();
  EXPECT_EQ(error(frames, chunk(2, 2, 6), 0), "no error");
}

TEST_F(CausalCache, RefusesFramesThatItHasNoRoomForAndNamesBothNumbers) {
  KeyValueCache frames("cache", small_network(), attention(2), 4);
  streaming_forward(network_, chunk(1, 2, 4), frames, {0, true});
  streaming_forward(network_, chunk(1, 2, 4), frames, {2, true});
  EXPECT_THAT(error(frames, chunk(1, 2, 4), 4),
              HasSubstr("has room for 4 frames because local_attn_size is unbounded, but frame 5"));
}

TEST_F(CausalCache, RefusesGapsAndLostFramesAndTooLargeChunks) {
  KeyValueCache frames("cache", small_network(), attention(2, 4, 1), 0);
  EXPECT_THAT(error(frames, chunk(1, 2, 4), 2), HasSubstr("holds frames up to 0"));
  for (const int64_t begin : {0, 2, 4})
    streaming_forward(network_, chunk(1, 2, 4), frames, {begin, true});
  EXPECT_THAT(error(frames, chunk(1, 2, 4), 2),
              HasSubstr("frames before 3 have left the window of 4 frames"));
  EXPECT_THAT(error(frames, chunk(1, 4, 4), 6), HasSubstr("3 frames of the window beside 1 sinks"));
  EXPECT_EQ(error(frames, chunk(1, 2, 4), 4), "no error") << "the last chunk may be stored again";
  EXPECT_EQ(frames.end_frame(), 6);
}

TEST_F(CausalCache, IsOutOfUseAfterAPassThatFailed) {
  KeyValueCache frames("cache", small_network(), attention(1), 3);
  WanTransformerInputs wrong = chunk(1, 1, 4);
  wrong.text_BLE = at::randn({1, 3, 7});
  EXPECT_THROW(streaming_forward(network_, wrong, frames, {0, true}), c10::Error);
  EXPECT_THAT(error(frames, chunk(1, 1, 4), 0), HasSubstr("it failed; clear the cache"));
  frames.clear();
  EXPECT_EQ(error(frames, chunk(1, 1, 4), 0), "no error");
}

TEST_F(CausalCache, MakesTheTextsKeysOnce) {
  KeyValueCache frames("cache", small_network(), attention(1), 3);
  WanTransformerInputs inputs = chunk(1, 1, 4);
  network_.parameters().load({{"proj_out.weight", at::randn({16, 24})}});
  const at::Tensor before = streaming_forward(network_, inputs, frames, {0, false});
  const std::string layer = "condition_embedder.text_embedder.linear_1.weight";
  network_.parameters().load({{layer, at::randn({24, 10})}});
  EXPECT_TRUE(at::equal(streaming_forward(network_, inputs, frames, {0, false}), before));
  const at::Tensor same_text = inputs.text_BLE;
  inputs.text_BLE = same_text.clone();
  EXPECT_FALSE(at::equal(streaming_forward(network_, inputs, frames, {0, false}), before))
      << "another tensor may be another text";
}

TEST_F(CausalCache, KeepsItsMemory) {
  KeyValueCache frames("cache", small_network(), attention(1, 3), 0);
  streaming_forward(network_, chunk(1, 1, 4), frames, {0, true});
  const void* memory = frames.held(0).keys.const_data_ptr();
  frames.clear();
  for (int64_t begin = 0; begin < 7; ++begin)
    streaming_forward(network_, chunk(1, 1, 4), frames, {begin, true});
  frames.clear();
  streaming_forward(network_, chunk(1, 1, 4), frames, {0, true});
  EXPECT_EQ(frames.held(0).keys.const_data_ptr(), memory);
  // keys and values, layers, tokens, width, bytes
  EXPECT_EQ(frames.bytes_per_frame({1, 2, 3}, at::kFloat), 2 * 2 * 6 * 24 * 4);
}

TEST_F(CausalCache, TheNextClipLeavesItsMemoryToAllPassesWithAGradient) {
  constexpr int64_t kNumFrames = 20;
  const CacheClip clip{1, 2, 3};
  KeyValueCache frames("cache", small_network(), attention(1), kNumFrames);
  std::vector<std::shared_ptr<StreamingPass>> passes;
  const auto begin_clip = [&] {
    frames.clear();
    streaming_forward(network_, chunk(1, 1, 4), frames, {0, true});
  };
  begin_clip();
  for (int64_t begin = 1; begin < kNumFrames; ++begin) {
    passes.push_back(
        frames.begin_pass(clip, {begin, begin + 1}, StreamingMode::kDifferentiable, at::kFloat));
    frames.end_pass(*passes.back());
    streaming_forward(network_, chunk(1, 1, 4), frames, {begin, true});
  }
  const void* first = frames.held(0).keys.const_data_ptr();
  count_cpu_memory();
  const uint64_t before = cpu_tensor_bytes();
  begin_clip();
  const void* second = frames.held(0).keys.const_data_ptr();
  EXPECT_NE(second, first);
  const auto one_clip = static_cast<double>(kNumFrames * frames.bytes_per_frame(clip, at::kFloat));
  EXPECT_NEAR(static_cast<double>(cpu_tensor_bytes() - before) / one_clip, 1.0, 0.2);
  passes.clear();
  begin_clip();
  EXPECT_EQ(frames.held(0).keys.const_data_ptr(), second);
}

}  // namespace
}  // namespace zoetrope::test
