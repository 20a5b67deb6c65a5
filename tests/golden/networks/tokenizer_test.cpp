// Prompt cleaning and token ids against diffusers' cleaning and transformers' fast tokenizer, every
// case of kind `tokenizer`.
#include "support/golden.h"
#include "zoetrope/networks/tokenizer/prompt_tokenizer.h"
#include "zoetrope/networks/tokenizer/text_cleaning.h"
#include "zoetrope/networks/tokenizer/unicode.h"

namespace zoetrope {
namespace {

class TokenizerGolden : public testing::TestWithParam<std::filesystem::path> {
 protected:
  test::GoldenCase golden_{GetParam()};
  PromptTokenizer tokenizer_{std::filesystem::path(ZOETROPE_SOURCE_DIR) /
                             golden_.json().at("tokenizer").get<std::string>()};
};

// Cleaning leaves composition (NFC) to the tokenizer, so texts with combining marks are compared by
// their ids only.
bool has_combining_marks(const std::string& text) {
  const std::u32string code_points = to_code_points(text);
  return std::any_of(code_points.begin(), code_points.end(), [](char32_t c) {
    return (c >= 0x0300 && c <= 0x036F) || c == 0x3099 || c == 0x309A;
  });
}

TEST_P(TokenizerGolden, CleansPrompts) {
  for (const auto& entry : golden_.json().at("entries")) {
    const std::string raw = entry.at("raw");
    if (has_combining_marks(raw) || has_combining_marks(fix_text(raw))) continue;
    SCOPED_TRACE(raw);
    EXPECT_EQ(fix_text(raw), entry.at("after_ftfy").get<std::string>());
    EXPECT_EQ(clean_prompt(raw), entry.at("cleaned").get<std::string>());
  }
}

TEST_P(TokenizerGolden, GivesTheSameIds) {
  const at::Tensor expected_ids = golden_.tensor("input_ids");
  const at::Tensor expected_mask = golden_.tensor("attention_mask");
  int64_t row = 0;
  for (const auto& entry : golden_.json().at("entries")) {
    const std::string raw = entry.at("raw");
    SCOPED_TRACE(raw);
    EXPECT_EQ(tokenizer_.encode(clean_prompt(raw)), entry.at("ids").get<std::vector<int64_t>>());
    const TokenizedPrompts padded = tokenizer_.encode_padded({clean_prompt(raw)});
    EXPECT_TENSOR_CLOSE(padded.ids_BL[0], expected_ids[row], 0.0);
    EXPECT_TENSOR_CLOSE(padded.mask_BL[0], expected_mask[row], 0.0);
    ++row;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, TokenizerGolden,
                         testing::ValuesIn(test::network_golden_folders("tokenizer")),
                         test::golden_test_name);

TEST(TokenizerCases, AreThere) {
  EXPECT_FALSE(test::network_golden_folders("tokenizer").empty());
}

}  // namespace
}  // namespace zoetrope
