// The text encoder against transformers' UMT5EncoderModel, every case of kind `umt5`.
#include "support/golden.h"
#include "zoetrope/base/error.h"
#include "zoetrope/networks/umt5/umt5_encoder.h"

namespace zoetrope {
namespace {

class Umt5Golden : public testing::TestWithParam<std::filesystem::path> {};

constexpr double kTolerance = 1e-5;

TEST_P(Umt5Golden, Encodes) {
  const test::GoldenCase golden(GetParam());
  const Umt5Encoder encoder(golden.folder() / golden.json().at("folder").get<std::string>(),
                            at::kCPU, at::kFloat);
  const at::Tensor hidden =
      encoder.encode(golden.tensor("input_ids"), golden.tensor("attention_mask"));
  EXPECT_TENSOR_CLOSE(hidden, golden.tensor("last_hidden_state"), kTolerance);
}

TEST_P(Umt5Golden, PaddingDoesNotChangeThePrompt) {
  const test::GoldenCase golden(GetParam());
  const Umt5Encoder encoder(golden.folder() / golden.json().at("folder").get<std::string>(),
                            at::kCPU, at::kFloat);
  const at::Tensor lengths = golden.tensor("attention_mask").sum(1);
  for (int64_t row = 0; row < lengths.numel(); ++row) {
    const int64_t length = lengths[row].item<int64_t>();
    const auto prefix = [&](const char* key) {
      return golden.tensor(key).narrow(0, row, 1).narrow(1, 0, length);
    };
    EXPECT_TENSOR_CLOSE(encoder.encode(prefix("input_ids"), prefix("attention_mask")),
                        prefix("last_hidden_state"), kTolerance);
  }
}

TEST_P(Umt5Golden, RefusesIdsOutsideTheVocabulary) {
  const test::GoldenCase golden(GetParam());
  const Umt5Encoder encoder(golden.folder() / golden.json().at("folder").get<std::string>(),
                            at::kCPU, at::kFloat);
  const at::Tensor ids = at::full({1, 2}, encoder.config().vocab_size, at::kLong);
  EXPECT_THROW(encoder.encode(ids, at::ones_like(ids)), DataError);
}

INSTANTIATE_TEST_SUITE_P(Golden, Umt5Golden,
                         testing::ValuesIn(test::network_golden_folders("umt5")),
                         test::golden_test_name);

TEST(Umt5Cases, AreThere) {
  EXPECT_FALSE(test::network_golden_folders("umt5").empty());
}

}  // namespace
}  // namespace zoetrope
