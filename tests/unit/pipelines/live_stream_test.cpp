// A clip that is steered while it is made is the clip whose actions were known from the beginning,
// and what is kept of it does not grow.
#include "zoetrope/pipelines/live_stream.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "support/golden.h"

namespace zoetrope::test {
namespace {

using testing::Each;
using testing::Le;
using testing::SizeIs;

constexpr int64_t kBlock = 2;
constexpr int64_t kNumBlocks = 7;
constexpr int64_t kHeight = 16;
constexpr int64_t kWidth = 32;
constexpr int64_t kWindow = 3;  // latent frames
constexpr int64_t kRatio = 4;

SamplingOptions two_steps() {
  SamplingOptions sampling;
  sampling.guidance_scale = 1.0;
  sampling.few_step = {.schedule = make_training_schedule(3.0, at::kCPU), .timesteps = {}};
  sampling.few_step->timesteps =
      denoising_timesteps({1000, 500}, false, sampling.few_step->schedule, "steps");
  return sampling;
}

/// The mean of the rows that latent frame t sees: [4 (t - 3), 4 t), the first for those before it.
at::Tensor mean_of_window(const at::Tensor& rows_BFK, int64_t frame, int64_t first_frame) {
  at::Tensor sum = at::zeros({});
  for (int64_t row = kRatio * (frame - kWindow); row < kRatio * frame; ++row)
    sum = sum + rows_BFK.select(1, std::max<int64_t>(row, 0) - kRatio * first_frame).sum();
  return sum / static_cast<double>(kRatio * kWindow);
}

/// A network without weights whose frames depend on their actions, on the given frames and on what
/// was committed.
struct SteeredNetwork {
  StreamingNetwork network() {
    StreamingNetwork functions;
    functions.num_frames_per_block = kBlock;
    functions.start_clip = [this] { committed = 0.0; };
    functions.velocity = [this](const at::Tensor& noisy, const at::Tensor& /*timestep*/,
                                const Conditioning& conditioning, const ChunkOptions& chunk) {
      num_rows.push_back(conditioning.keyboard_BFK.size(1));
      num_image_frames.push_back(conditioning.image_latents_BTCHW.size(1));
      if (chunk.store) committed = 0.5 * committed + noisy.mean().item<double>();
      std::vector<at::Tensor> frames;
      for (int64_t i = 0; i < noisy.size(2); ++i) {
        const int64_t frame = chunk.start_frame + i;
        const int64_t first = conditioning.first_frame;
        const at::Tensor given = conditioning.image_latents_BTCHW.select(1, frame - first).mean();
        frames.push_back(0.5 * noisy.select(2, i) + given + committed +
                         mean_of_window(conditioning.keyboard_BFK, frame, first) +
                         2.0 * mean_of_window(conditioning.mouse_BF2, frame, first));
      }
      return at::stack(frames, 2);
    };
    return functions;
  }

  double committed = 0.0;
  std::vector<int64_t> num_rows;
  std::vector<int64_t> num_image_frames;
};

class LiveStreamTest : public testing::Test {
 protected:
  LiveStreamTest() {
    at::manual_seed(3);
    options_.num_height = kHeight;
    options_.num_width = kWidth;
    options_.sampling = two_steps();
    options_.num_past_frames = kWindow;
    given_ = at::randn({1, kNumBlocks * kBlock, 20, 2, 4});
    given_.narrow(1, 5, kNumBlocks * kBlock - 5).copy_(given_.narrow(1, 4, 1));
    keys_ = at::randn({kNumBlocks, 1, 1, 3});
    mouse_ = at::randn({kNumBlocks, 1, 1, 2});
  }

  /// One row for each pixel frame of the clip.
  static at::Tensor rows_of(const at::Tensor& blocks) {
    std::vector<at::Tensor> rows;
    for (int64_t i = 0; i < kNumBlocks; ++i)
      rows.push_back(blocks[i].expand({1, kRatio * kBlock - (i == 0 ? kRatio - 1 : 0), -1}));
    return at::cat(rows, 1);
  }

  /// The same clip with all its conditions at once.
  std::vector<media::Frame> known_clip() {
    GuidedConditioning conditions;
    conditions.conditional.image_latents_BTCHW = given_;
    conditions.conditional.keyboard_BFK = rows_of(keys_);
    conditions.conditional.mouse_BF2 = rows_of(mouse_);
    const StreamedClip clip{{1, vae_.config().z_dim, kNumBlocks * kBlock, kHeight / 8, kWidth / 8},
                            two_steps()};
    SteeredNetwork steered;
    std::vector<media::Frame> frames;
    WanVaeDecoding decoding;
    stream_latents(steered.network(), conditions, clip, noise_,
                   [&](const FrameBlock& /*block*/, const at::Tensor& latents) {
                     const auto block = to_frames(decode_next_to_bytes(vae_, latents, decoding)[0]);
                     frames.insert(frames.end(), block.begin(), block.end());
                   });
    return frames;
  }

  std::vector<media::Frame> live_clip(LiveStream& stream, bool commits) {
    GuidedConditioning conditions;
    conditions.conditional.image_latents_BTCHW = given_.narrow(1, 0, 5);
    stream.start(conditions);
    std::vector<media::Frame> frames;
    for (int64_t i = 0; i < kNumBlocks; ++i) {
      const auto block = stream.next({keys_[i], mouse_[i]});
      frames.insert(frames.end(), block.begin(), block.end());
      if (commits) stream.commit();
    }
    return frames;
  }

  LiveStream make_stream() { return {steered_.network(), vae_, options_, noise_}; }

  WanVae vae_{std::filesystem::path(ZOETROPE_SOURCE_DIR) / "assets/tiny-wan/vae", at::kCPU,
              at::kFloat};
  NamedNoise noise_ = keyed_noise(5, 0, at::kCPU);
  LiveStreamOptions options_;
  at::Tensor given_;
  at::Tensor keys_;
  at::Tensor mouse_;
  SteeredNetwork steered_;
};

TEST_F(LiveStreamTest, IsTheClipWhoseActionsWereKnown) {
  LiveStream stream = make_stream();
  const std::vector<media::Frame> known = known_clip();
  ASSERT_THAT(known, SizeIs(kRatio * (kNumBlocks * kBlock - 1) + 1));
  EXPECT_EQ(live_clip(stream, false), known);
  EXPECT_EQ(stream.num_frames(), kNumBlocks * kBlock);
  EXPECT_EQ(live_clip(stream, true), known);  // a new clip forgets the one before
  keys_[kNumBlocks - 1] += 1.0;
  EXPECT_NE(live_clip(stream, true), known);
}

TEST_F(LiveStreamTest, KeepsOnlyWhatIsLookedAt) {
  LiveStream stream = make_stream();
  live_clip(stream, true);
  EXPECT_THAT(steered_.num_rows, Each(Le(kRatio * (kWindow + kBlock))));
  EXPECT_THAT(steered_.num_image_frames, Each(Le(kWindow + kBlock)));
}

}  // namespace
}  // namespace zoetrope::test
