// Streaming a clip: it equals sampling with the masked network, which sees whole clips and has no
// cache; and what the network is called with.
#include "zoetrope/pipelines/causal_pipeline.h"

#include <map>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "support/golden.h"
#include "support/small_network.h"

namespace zoetrope::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kTolerance = 1e-5;
constexpr int64_t kBlock = 2;

CausalAttention all_of_the_past() {
  CausalAttention attention;
  attention.num_frames_per_block = kBlock;
  return attention;
}

SamplingOptions few_steps(double context_noise = 0.0) {
  SamplingOptions options;
  options.guidance_scale = 1.0;
  options.few_step = {.schedule = make_self_forcing_schedule(5.0, at::kCPU), .timesteps = {}};
  options.few_step->timesteps =
      denoising_timesteps({1000, 750, 500}, true, options.few_step->schedule, "steps");
  options.few_step->context_noise = context_noise;
  return options;
}

SamplingOptions many_steps(double guidance_scale) {
  return {.num_steps = 4, .guidance_scale = guidance_scale, .flow_shift = 3.0, .few_step = {}};
}

/// Draws each name once.
class RecordedNoise {
 public:
  NamedNoise function() {
    return [this](const std::string& name, at::IntArrayRef shape) {
      at::Tensor& noise = drawn_[name];
      if (!noise.defined()) noise = at::randn(shape);
      return noise;
    };
  }
  const at::Tensor& at(const std::string& name) const { return drawn_.at(name); }
  bool contains(const std::string& name) const { return drawn_.contains(name); }

 private:
  std::map<std::string, at::Tensor> drawn_;
};

class CausalPipeline : public testing::Test {
 protected:
  CausalPipeline() : network_(small_network(), {at::kCPU, at::kFloat, false}) {
    at::manual_seed(12);
    network_.parameters().load(random_weights(network_.parameters().specs()));
    text_.conditional.text_embedding_BLD = at::randn({1, 6, 10});
    text_.unconditional.text_embedding_BLD = at::randn({1, 6, 10});
  }

  std::vector<int64_t> shape(int64_t num_frames) const { return {1, 4, num_frames, 4, 6}; }

  at::Tensor stream(const CausalAttention& attention, const StreamedClip& clip,
                    int64_t max_frames) {
    std::vector<at::Tensor> blocks;
    const StreamingNetwork network = make_streaming_network(network_, attention, max_frames);
    stream_latents(
        network, text_, clip, noise_.function(),
        [&](const FrameBlock& /*block*/, const at::Tensor& latents) { blocks.push_back(latents); });
    return at::cat(blocks, 2);
  }

  /// The velocity of block `first` of a clip whose earlier frames are `clean_before`, without a
  /// cache: the whole clip goes through the masked network.
  DenoisingNetwork masked_velocity(const CausalAttention& attention,
                                   const at::Tensor& clean_before) {
    return [this, attention, clean_before](const at::Tensor& noisy, const at::Tensor& timestep_B,
                                           const Conditioning& conditioning) {
      const int64_t rows = noisy.size(0);
      const int64_t before = clean_before.size(2);
      WanTransformerInputs inputs;
      inputs.hidden_BCTHW = at::cat({clean_before.expand({rows, -1, -1, -1, -1}), noisy}, 2);
      inputs.timestep = at::cat(
          {at::zeros({rows, before}), timestep_B.unsqueeze(1).expand({rows, noisy.size(2)})}, 1);
      inputs.text_BLE = conditioning.text_embedding_BLD;
      return block_causal_forward(network_, inputs, attention).narrow(2, before, noisy.size(2));
    };
  }

  at::Tensor sample_masked(const CausalAttention& attention, const StreamedClip& clip) {
    at::NoGradGuard no_grad;
    at::Tensor clean = at::zeros(shape(0));
    for (int64_t i = 0; i < clip.shape_BCTHW[2] / kBlock; ++i) {
      const std::string name = "block" + std::to_string(i);
      const at::Tensor block = sample_latents(
          masked_velocity(attention, clean), noise_.at(name), text_, clip.sampling, {},
          [&](int64_t step) { return noise_.at(name + ".step" + std::to_string(step)); });
      clean = at::cat({clean, block}, 2);
    }
    return clean;
  }

  WanTransformer network_;
  GuidedConditioning text_;
  RecordedNoise noise_;
};

TEST_F(CausalPipeline, EqualsSamplingWithTheMaskedNetwork) {
  const CausalAttention attention = all_of_the_past();
  for (const SamplingOptions& sampling : {few_steps(), many_steps(1.0), many_steps(4.0)}) {
    const StreamedClip clip{shape(6), sampling};
    const at::Tensor streamed = stream(attention, clip, 6);
    EXPECT_TENSOR_CLOSE(streamed, sample_masked(attention, clip), kTolerance);
  }
}

TEST_F(CausalPipeline, AWindowMovesOverLongClips) {
  // Three times as long as the window, which is all that the cache has room for.
  const CausalAttention attention{
      .num_frames_per_block = kBlock, .local_attn_size = 5, .sink_size = 1};
  const StreamedClip clip{shape(16), few_steps()};
  const at::Tensor streamed = stream(attention, clip, 5);
  EXPECT_TENSOR_CLOSE(streamed, sample_masked(attention, clip), kTolerance);
  const CausalAttention unbounded = all_of_the_past();
  const at::Tensor all_seen = sample_masked(unbounded, clip);
  EXPECT_GT((all_seen - streamed).abs().max().item<double>(), 1e-3);  // the window matters
  EXPECT_THAT(error_of([&] { stream(unbounded, clip, 5); }),
              HasSubstr("set local_attn_size for longer rollouts"));
}

TEST_F(CausalPipeline, ALongerClipBeginsLikeAShorterOne) {
  const CausalAttention attention = all_of_the_past();
  const at::Tensor longer = stream(attention, {shape(6), few_steps()}, 6);
  const at::Tensor shorter = stream(attention, {shape(4), few_steps()}, 6);
  EXPECT_TRUE(at::equal(longer.narrow(2, 0, 4), shorter));
}

struct Call {
  std::vector<double> timesteps;
  int64_t start_frame;
  int64_t num_frames;
  bool store;

  bool operator==(const Call&) const = default;
};

/// Records its calls, and what they were given last.
struct FakeStreaming {
  StreamingNetwork network() {
    StreamingNetwork functions;
    functions.num_frames_per_block = kBlock;
    functions.start_clip = [this] { ++num_clears; };
    functions.velocity = [this](const at::Tensor& noisy, const at::Tensor& timestep_B,
                                const Conditioning& /*conditioning*/, const ChunkOptions& chunk) {
      std::vector<double> timesteps;
      for (int64_t row = 0; row < timestep_B.size(0); ++row)
        timesteps.push_back(timestep_B[row].item<double>());
      calls.push_back({timesteps, chunk.start_frame, noisy.size(2), chunk.store});
      if (chunk.store) stored.push_back(noisy);
      return 0.5 * noisy;
    };
    return functions;
  }

  std::vector<Call> calls;
  std::vector<at::Tensor> stored;
  int num_clears = 0;
};

TEST_F(CausalPipeline, BlocksAreHandedOnBeforeTheyAreCommitted) {
  FakeStreaming fake;
  std::vector<size_t> calls_before_sink;
  std::vector<int64_t> progress;
  stream_latents(
      fake.network(), text_, {shape(5), few_steps()}, noise_.function(),
      [&](const FrameBlock& /*block*/, const at::Tensor& /*latents*/) {
        calls_before_sink.push_back(fake.calls.size());
      },
      [&](int64_t done, int64_t total) {
        progress.push_back(done);
        EXPECT_EQ(total, 6);
      });
  // The odd frame joins the first block; the last block has nothing after it and is not committed.
  const double second = 1000.0 * 0.9375;
  const double third = 1000.0 * 5.0 * 0.5 / 3.0;
  ASSERT_EQ(fake.calls.size(), 7U);
  EXPECT_EQ(fake.calls[0], (Call{{1000.0}, 0, 3, false}));
  EXPECT_EQ(fake.calls[1], (Call{{second}, 0, 3, false}));
  EXPECT_NEAR(fake.calls[2].timesteps[0], third, 1e-3);
  EXPECT_EQ(fake.calls[3], (Call{{0.0}, 0, 3, true}));
  EXPECT_EQ(fake.calls[4], (Call{{1000.0}, 3, 2, false}));
  EXPECT_FALSE(fake.calls[6].store);
  EXPECT_THAT(calls_before_sink, ElementsAre(3, 7));
  EXPECT_THAT(progress, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_GE(fake.num_clears, 1);
}

TEST_F(CausalPipeline, ContextNoiseIsAddedToWhatLaterBlocksSee) {
  FakeStreaming fake;
  std::vector<at::Tensor> blocks;
  stream_latents(
      fake.network(), text_, {shape(4), few_steps(625.0)}, noise_.function(),
      [&](const FrameBlock& /*block*/, const at::Tensor& latents) { blocks.push_back(latents); });
  ASSERT_EQ(fake.stored.size(), 1U);
  EXPECT_EQ(fake.calls[3], (Call{{625.0}, 0, 2, true}));
  const at::Tensor expected = 0.375 * blocks[0] + 0.625 * noise_.at("block0.context");
  EXPECT_TENSOR_CLOSE(fake.stored[0], expected, kTolerance);
  EXPECT_GT((fake.stored[0] - blocks[0]).abs().max().item<double>(), 0.1);
}

TEST_F(CausalPipeline, GuidanceCommitsBothRows) {
  FakeStreaming fake;
  stream_latents(fake.network(), text_, {shape(4), many_steps(3.0)}, noise_.function(),
                 [](const FrameBlock& /*block*/, const at::Tensor& /*latents*/) {});
  ASSERT_EQ(fake.stored.size(), 1U);
  EXPECT_EQ(fake.stored[0].size(0), 2);
  text_.unconditional = {};
  EXPECT_THAT(
      error_of([&] {
        stream_latents(fake.network(), text_, {shape(4), many_steps(3.0)}, noise_.function(), {});
      }),
      HasSubstr("needs unconditional conditions"));
}

}  // namespace
}  // namespace zoetrope::test
