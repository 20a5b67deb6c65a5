// Masked passes over clips of any size, one after another: FastVideo fails where tokens need no
// padding to a multiple of 128, and keeps the mask of the first clip.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "support/golden.h"
#include "support/small_network.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"

namespace zoetrope::test {
namespace {

constexpr double kTolerance = 1e-5;
/// FastVideo's padding.
constexpr int64_t kTokens = 128;

struct ClipSize {
  int64_t num_frames = 0;
  int64_t height = 0;
  int64_t width = 0;
  /// Patches are 1 x 2 x 2.
  int64_t num_tokens() const { return num_frames * (height / 2) * (width / 2); }
};

class CausalClipSizes : public testing::TestWithParam<Implementation> {
 protected:
  static std::unique_ptr<WanTransformer> make_network() {
    auto network = std::make_unique<WanTransformer>(small_network(), ParameterStore::Options());
    network->set_implementation(GetParam());
    at::manual_seed(12);
    network->parameters().load(random_weights(network->parameters().specs()));
    return network;
  }
  static WanTransformerInputs make_clip(const ClipSize& size, bool teacher_forced) {
    at::manual_seed(5);
    WanTransformerInputs inputs;
    inputs.hidden_BCTHW = at::randn({2, 4, size.num_frames, size.height, size.width});
    inputs.timestep = at::rand({2, size.num_frames}) * 1000;
    inputs.text_BLE = at::randn({2, 3, small_network().text_dim});
    if (teacher_forced) inputs.clean_BCTHW = at::randn_like(inputs.hidden_BCTHW);
    return inputs;
  }
  static WanTransformerInputs first_frames(WanTransformerInputs inputs, int64_t num_frames) {
    inputs.hidden_BCTHW = inputs.hidden_BCTHW.narrow(2, 0, num_frames);
    inputs.timestep = inputs.timestep.narrow(1, 0, num_frames);
    if (inputs.clean_BCTHW.defined())
      inputs.clean_BCTHW = inputs.clean_BCTHW.narrow(2, 0, num_frames);
    return inputs;
  }

  const CausalAttention attention_{.num_frames_per_block = 2};
  at::NoGradGuard no_grad_;
};

// A frame does not depend on later ones, so that a shorter clip, which does need padding there,
// says what must come out.
TEST_P(CausalClipSizes, TokensMayBeAMultipleOfTheReferencesPadding) {
  const auto network = make_network();
  for (const bool teacher_forced : {false, true}) {
    const ClipSize size{8, 8, teacher_forced ? 4 : 8};
    ASSERT_EQ(size.num_tokens() * (teacher_forced ? 2 : 1), kTokens);
    const WanTransformerInputs clip = make_clip(size, teacher_forced);
    const at::Tensor whole = block_causal_forward(*network, clip, attention_);
    ASSERT_EQ(whole.sizes(), clip.hidden_BCTHW.sizes());
    const at::Tensor shorter = block_causal_forward(*network, first_frames(clip, 6), attention_);
    EXPECT_TENSOR_CLOSE(whole.narrow(2, 0, 6), shorter, kTolerance) << teacher_forced;
    EXPECT_GT(whole.narrow(2, 6, 2).abs().min().item<double>(), 0.0);
  }
}

TEST_P(CausalClipSizes, EachClipHasItsOwnMask) {
  for (const bool teacher_forced : {false, true}) {
    const auto network = make_network();
    // More frames, other frames of as many tokens, fewer frames.
    for (const ClipSize& size :
         {ClipSize{4, 4, 6}, ClipSize{7, 4, 6}, ClipSize{6, 4, 4}, ClipSize{3, 8, 4}}) {
      const WanTransformerInputs clip = make_clip(size, teacher_forced);
      const auto fresh = make_network();
      EXPECT_TRUE(at::equal(block_causal_forward(*network, clip, attention_),
                            block_causal_forward(*fresh, clip, attention_)))
          << teacher_forced << " " << size.num_frames << " frames";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Implementations, CausalClipSizes,
                         testing::Values(Implementation::kPlain, Implementation::kFastest),
                         [](const auto& parameter) {
                           return parameter.param == Implementation::kPlain ? "Plain" : "Fastest";
                         });

}  // namespace
}  // namespace zoetrope::test
