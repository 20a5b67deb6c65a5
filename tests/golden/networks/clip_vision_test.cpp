// The image encoder against transformers' CLIPVisionModel and CLIPImageProcessorPil, every case of
// kind `clip_vision`; the condition of the first frame against diffusers' WanImageToVideoPipeline.
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/networks/clip_vision/clip_image_processor.h"
#include "zoetrope/networks/clip_vision/clip_vision_encoder.h"
#include "zoetrope/networks/clip_vision/image_embedding.h"
#include "zoetrope/networks/first_frame.h"
#include "zoetrope/networks/frame_tensor.h"

namespace zoetrope {
namespace {

constexpr double kEncoderTolerance = 1e-5;
// The resized bytes are the same, so what is left is rounding of the normalisation.
constexpr double kPixelTolerance = 1e-6;

class ClipVisionGolden : public testing::TestWithParam<std::filesystem::path> {
 protected:
  ClipVisionGolden() : golden_(GetParam()) {}

  ClipVisionEncoder encoder() const {
    return {golden_.folder() / "image_encoder", at::kCPU, at::kFloat};
  }
  ClipImageProcessorConfig processor() const {
    return read_clip_image_processor_config(golden_.folder() / "image_processor");
  }
  media::Frame image(int64_t index) const {
    return tensor_to_frame(golden_.tensor(fmt::format("image{}", index)));
  }

  test::GoldenCase golden_;
};

TEST_P(ClipVisionGolden, PreparesPixels) {
  for (int64_t i = 0; i < golden_.json().at("num_images").get<int64_t>(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_TENSOR_CLOSE(process_clip_image(image(i), processor()).unsqueeze(0),
                        golden_.tensor(fmt::format("pixels{}", i)), kPixelTolerance);
  }
}

TEST_P(ClipVisionGolden, GivesTheStatesBeforeTheLastLayer) {
  for (int64_t i = 0; i < golden_.json().at("num_images").get<int64_t>(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_TENSOR_CLOSE(encoder().encode(golden_.tensor(fmt::format("pixels{}", i))),
                        golden_.tensor(fmt::format("hidden{}", i)), kEncoderTolerance);
  }
}

TEST_P(ClipVisionGolden, EncodesAPicture) {
  const ImageEmbedder embedder(golden_.folder(), at::kCPU);
  EXPECT_TENSOR_CLOSE(embedder.embed(image(0)).unsqueeze(0), golden_.tensor("hidden0"),
                      kEncoderTolerance);
}

TEST_P(ClipVisionGolden, RefusesOtherSizes) {
  const int64_t side = encoder().config().image_size;
  EXPECT_THROW(encoder().encode(at::zeros({1, 3, side, side + 1})), DataError);
}

TEST_P(ClipVisionGolden, LoadsStrictly) {
  const test::TemporaryFolder folder;
  const auto copy = folder.path() / "image_encoder";
  std::filesystem::copy(golden_.folder() / "image_encoder", copy);
  const WeightFolder weights(copy);
  NamedTensors tensors;
  for (const std::string& name : weights.names()) {
    if (name.find("layers.1.mlp.fc2.bias") == std::string::npos) {
      tensors.emplace_back(name, weights.tensor(name).clone());
    }
  }
  write_safetensors(copy / "model.safetensors", tensors);
  EXPECT_THAT(test::error_of([&] { ClipVisionEncoder(copy, at::kCPU, at::kFloat); }),
              testing::HasSubstr("encoder.layers.1.mlp.fc2.bias"));
}

INSTANTIATE_TEST_SUITE_P(Golden, ClipVisionGolden,
                         testing::ValuesIn(test::network_golden_folders("clip_vision")),
                         test::golden_test_name);

TEST(ClipVisionCases, AreThere) {
  EXPECT_EQ(test::network_golden_folders("clip_vision").size(), 2U);
}

TEST(ImageCondition, IsThatOfDiffusers) {
  const auto folders = test::network_golden_folders("image_condition");
  ASSERT_EQ(folders.size(), 1U);
  const test::GoldenCase golden(folders.front());
  const WanVae vae(golden.folder() / golden.json().at("folder").get<std::string>(), at::kCPU,
                   at::kFloat);
  const at::Tensor latents_BCTHW =
      encode_first_frame(vae, golden.tensor("image"), golden.json().at("frames").get<int64_t>());
  EXPECT_TENSOR_CLOSE(with_first_frame_mask(latents_BCTHW.transpose(1, 2)).transpose(1, 2),
                      golden.tensor("condition"), kEncoderTolerance);
}

}  // namespace
}  // namespace zoetrope
