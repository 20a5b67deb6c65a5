// Every name of a T2V and an I2V transformer against the lists that
// tools/reference/make_wan_key_names.py derives from Diffusers' and FastVideo's own tables.
#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace {

using test::TemporaryFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr WanKeyLayout kLayouts[] = {WanKeyLayout::kDiffusers, WanKeyLayout::kFastVideo,
                                     WanKeyLayout::kOriginal};

class WanKeyLayouts : public ::testing::TestWithParam<const char*> {
 protected:
  // One row a tensor: its names in the order of kLayouts.
  std::vector<std::vector<std::string>> rows_ = nlohmann::json::parse(
      read_file(ZOETROPE_SOURCE_DIR "/tests/golden/networks/wan_key_names.json"))[GetParam()];
};
INSTANTIATE_TEST_SUITE_P(, WanKeyLayouts, ::testing::Values("t2v", "i2v"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(WanKeyLayouts, EveryNameMapsBetweenAllLayouts) {
  ASSERT_GE(rows_.size(), 69U);
  for (const auto& row : rows_) {
    EXPECT_EQ(to_fastvideo_name(row[0]), row[1]);
    EXPECT_EQ(from_fastvideo_name(row[1]), row[0]);
    for (size_t from = 0; from < 3; ++from) {
      for (size_t to = 0; to < 3; ++to) {
        EXPECT_EQ(rename_wan_key("a." + row[from], {kLayouts[from], "a."}, {kLayouts[to], "b."}),
                  "b." + row[to]);
      }
    }
  }
}

TEST_P(WanKeyLayouts, LayoutsAreTold) {
  for (size_t layout = 0; layout < 3; ++layout) {
    for (const std::string prefix : {"", "model.diffusion_model."}) {
      std::vector<std::string> names;
      for (const auto& row : rows_) names.push_back(prefix + row[layout]);
      EXPECT_EQ(detect_wan_key_format(names), (WanKeyFormat{kLayouts[layout], prefix}));
    }
  }
}

TEST_P(WanKeyLayouts, WeightsLoadFromEveryLayout) {
  const TemporaryFolder folder;
  std::vector<TensorSpec> specs;
  for (size_t i = 0; i < rows_.size(); ++i) specs.push_back({rows_[i][0], {2}});
  for (const WanKeyFormat& format :
       {WanKeyFormat{}, WanKeyFormat{WanKeyLayout::kFastVideo, ""},
        WanKeyFormat{WanKeyLayout::kOriginal, ""}, comfyui_key_format()}) {
    NamedTensors stored;
    for (size_t i = 0; i < rows_.size(); ++i) {
      stored.emplace_back(rename_wan_key(rows_[i][0], {}, format),
                          at::full({2}, static_cast<double>(i)));
    }
    write_safetensors(folder / "weights.safetensors", stored);
    const NamedTensors loaded = load_wan_weights(folder / "weights.safetensors", specs);
    ASSERT_EQ(loaded.size(), rows_.size());
    for (size_t i = 0; i < rows_.size(); ++i) {
      EXPECT_EQ(loaded[i].first, rows_[i][0]);
      EXPECT_EQ(loaded[i].second[0].item<float>(), static_cast<float>(i));
    }
    stored.erase(stored.begin());
    stored.emplace_back("something.else", at::zeros({2}));
    write_safetensors(folder / "weights.safetensors", stored);
    try {
      load_wan_weights(folder / "weights.safetensors", specs);
      FAIL();
    } catch (const CheckpointError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(rename_wan_key(rows_[0][0], {}, format)),
                                      HasSubstr("something.else")));
    }
  }
}

TEST(WanKeyNames, KeepWhatFollowsALayer) {
  EXPECT_EQ(to_fastvideo_name("blocks.12.attn1.to_out.0.lora_A.weight"),
            "blocks.12.to_out.lora_A.weight");
}

TEST(WanKeyNames, UnknownNamesAreErrors) {
  for (const char* name : {"blocks.0.attn1.to_x.weight", "blocks.x.attn1.to_q.weight", "blocks.0.",
                           "proj_outer.weight", "", "blocks.0.to_q.weight"}) {
    EXPECT_THROW(to_fastvideo_name(name), CheckpointError) << name;
  }
  EXPECT_THROW(rename_wan_key("proj_out.weight", comfyui_key_format(), {}), CheckpointError);
  EXPECT_EQ(detect_wan_key_format({"encoder.weight", "xtime_projection.1.weight"}), std::nullopt);
}

TEST(WanKeyNames, FormatsAreDescribed) {
  EXPECT_EQ(WanKeyFormat{}.describe(), "Diffusers");
  EXPECT_EQ(comfyui_key_format().describe(), "ComfyUI (original Wan below model.diffusion_model.)");
  EXPECT_EQ((WanKeyFormat{WanKeyLayout::kOriginal, "model."}).describe(),
            "original Wan below model.");
}

}  // namespace
}  // namespace zoetrope
