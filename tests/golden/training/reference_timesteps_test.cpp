// The replayed models give their networks the timesteps of the reference's, and tell those that the
// method asked for.
#include "golden/training/reference_timesteps.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "golden/training/observed_model.h"
#include "support/golden.h"
#include "zoetrope/models/wan/wan_causal_model.h"

namespace zoetrope::test {
namespace {

// 750 on a schedule of shift 5.
constexpr double kWarpedStep = 937.5;

class ReferenceTimesteps : public testing::Test {
 protected:
  ReferenceTimesteps() {
    config_.init_from = (reference_root() / "_models/wan_a").string();
    config_.num_frames_per_block = 2;
    context_.num_latent_frames = 2;
    const int64_t width = read_network_config(config_).text_dim;
    conditioning_.text_embedding_BLD = at::randn({1, 8, width}, generator_);
    noisy_BTCHW_ = at::randn({1, 2, 16, 4, 6}, generator_);
  }

  at::Tensor stream(CausalModelBase& model, double timestep) {
    model.clear_caches(StreamingOptions().cache_tag);
    return model.predict_noise_streaming(noisy_BTCHW_, at::full({1, 2}, timestep), conditioning_,
                                         {});
  }

  at::NoGradGuard no_grad_;
  at::Generator generator_ = at::detail::createCPUGenerator(1);
  WanCausalModelConfig config_;
  ModelContext context_;
  Conditioning conditioning_;
  at::Tensor noisy_BTCHW_;
};

TEST_F(ReferenceTimesteps, OfStreamingPassesAreCutToIntegers) {
  WanCausalModel ours(config_, context_);
  ObservedCausal<WithTruncatedTimesteps<WanCausalModel>> replayed(config_, context_);
  const at::Tensor velocity = stream(replayed, kWarpedStep);
  EXPECT_TENSOR_CLOSE(velocity, stream(ours, 937.0), 0.0);
  EXPECT_FALSE(is_close(velocity, stream(ours, kWarpedStep), 1e-5));
  ASSERT_EQ(replayed.log().calls.size(), 1U);
  EXPECT_EQ(replayed.log().calls[0].timestep.max().item<double>(), kWarpedStep);
}

TEST_F(ReferenceTimesteps, DoNotChangeTheConversionToCleanLatents) {
  ObservedCausal<WithTruncatedTimesteps<WanCausalModel>> replayed(config_, context_);
  const at::Tensor velocity = stream(replayed, kWarpedStep);
  replayed.clear_caches(StreamingOptions().cache_tag);
  const at::Tensor timestep_BT = at::full({1, 2}, kWarpedStep);
  const at::Tensor clean =
      replayed.predict_x0_streaming(noisy_BTCHW_, timestep_BT, conditioning_, {});
  const at::Tensor sigma = replayed.noise_schedule().sigma_at(timestep_BT).view({1, 2, 1, 1, 1});
  EXPECT_TENSOR_CLOSE(clean, noisy_BTCHW_ - sigma * velocity, 1e-6);
}

TEST_F(ReferenceTimesteps, OfWholePassesAreExact) {
  WanCausalModel ours(config_, context_);
  ObservedCausal<WithTruncatedTimesteps<WanCausalModel>> replayed(config_, context_);
  const at::Tensor timestep_BT = at::full({1, 2}, kWarpedStep);
  EXPECT_TENSOR_CLOSE(replayed.predict_noise(noisy_BTCHW_, timestep_BT, conditioning_),
                      ours.predict_noise(noisy_BTCHW_, timestep_BT, conditioning_), 0.0);
}

}  // namespace
}  // namespace zoetrope::test
