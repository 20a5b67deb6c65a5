// Unigram segmentation, text repairs and padding by hand-made examples; whole prompts are compared
// in the golden tests.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/tokenizer/html_unescape.h"
#include "zoetrope/networks/tokenizer/mojibake.h"
#include "zoetrope/networks/tokenizer/text_cleaning.h"
#include "zoetrope/networks/tokenizer/unicode.h"
#include "zoetrope/networks/tokenizer/unigram.h"
#include "zoetrope/networks/umt5/text_embedding.h"

namespace zoetrope {
namespace {

TEST(UnigramTest, TakesTheMostProbableSegmentation) {
  // ab c: -2 - 1 = -3; a bc: -1 - 1.5 = -2.5; a b c: -1 - 4 - 1 = -6.
  const UnigramModel model({"<unk>", "a", "b", "c", "ab", "bc"},
                           {0.0, -1.0, -4.0, -1.0, -2.0, -1.5}, 0);
  EXPECT_EQ(model.segment("abc"), (std::vector<int64_t>{1, 5}));
  EXPECT_EQ(model.segment("aéüa"), (std::vector<int64_t>{1, 0, 1}));
  EXPECT_TRUE(model.segment("").empty());
}

TEST(TextCleaningTest, RepairsMojibakeAndLeavesRealTextAlone) {
  EXPECT_EQ(to_utf8(repair_mojibake(U"cafÃ©")), "café");
  EXPECT_EQ(to_utf8(repair_mojibake(U"il dit «CITÉ»")), "il dit «CITÉ»");
  EXPECT_EQ(to_utf8(repair_mojibake(U"LA CITÉ» et")), "LA CITÉ» et");
  EXPECT_EQ(to_utf8(repair_mojibake(U"Århus, naïve, 25°, ½")), "Århus, naïve, 25°, ½");
}

TEST(TextCleaningTest, HtmlReferencesWithAndWithoutSemicolon) {
  EXPECT_EQ(to_utf8(unescape_html(U"a &lt b &notit; &#x41;&#66 &euro; &nosuch;")),
            "a < b ¬it; AB € &nosuch;");
  EXPECT_EQ(to_utf8(unescape_complete_html(U"a &lt b &#66 &#66; &euro;")), "a &lt b &#66 B €");
  EXPECT_EQ(to_utf8(unescape_html(U"&#x1;&#99999999999999999999;&")), "\uFFFD&");
}

TEST(TextCleaningTest, InvalidUtf8IsRefusedWithItsPlace) {
  try {
    clean_prompt("ab\xC3(");
    FAIL() << "invalid UTF-8 was accepted";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("byte 2"), std::string::npos);
  }
  EXPECT_FALSE(decode_utf8("\xC0\x80", nullptr));
  EXPECT_FALSE(decode_utf8("\xED\xA0\x80", nullptr));
}

TEST(TextEmbeddingTest, PaddingIsZerosAndLongTextsAreCut) {
  const at::Tensor padded = pad_text_embeddings({at::ones({2, 3}), at::ones({9, 3})}, 5);
  EXPECT_EQ(padded.sizes(), (std::vector<int64_t>{2, 5, 3}));
  EXPECT_EQ(padded[0].sum().item<float>(), 6.0F);
  EXPECT_EQ(padded[1].sum().item<float>(), 15.0F);
  EXPECT_THROW(pad_text_embeddings({at::ones({2, 3}), at::ones({2, 4})}), DataError);
  EXPECT_THROW(pad_text_embeddings({}), DataError);
}

}  // namespace
}  // namespace zoetrope
