#include "zoetrope/networks/pipeline_folder.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class PipelineFolderTest : public testing::Test {
 protected:
  fs::path folder_ =
      fs::path(testing::TempDir()) /
      ("pipeline_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));

  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const fs::path& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  std::string error_message() {
    try {
      const PipelineFolder pipeline(folder_);
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return {};
  }
};

constexpr const char* kIndex = R"({
  "_class_name": "WanPipeline", "expand_timesteps": false, "transformer_2": [null, null],
  "vae": ["diffusers", "AutoencoderKLWan"], "scheduler": ["diffusers", "UniPCMultistepScheduler"],
  "tokenizer": ["transformers", "T5TokenizerFast"]})";

TEST_F(PipelineFolderTest, ListsComponentsInTheOrderOfTheFile) {
  write("model_index.json", kIndex);
  write("scheduler/scheduler_config.json", "{}");
  const PipelineFolder pipeline(folder_);
  EXPECT_EQ(pipeline.class_name(), "WanPipeline");
  ASSERT_EQ(pipeline.components().size(), 3U);
  EXPECT_EQ(pipeline.components()[0].name, "vae");
  EXPECT_EQ(pipeline.components()[1].class_name, "UniPCMultistepScheduler");
  EXPECT_FALSE(pipeline.has("transformer_2"));
  EXPECT_EQ(pipeline.component_folder("scheduler"), folder_ / "scheduler");
}

TEST_F(PipelineFolderTest, SaysWhatIsMissing) {
  write("model_index.json", kIndex);
  write("scheduler/scheduler_config.json", "{}");
  write("vae/readme.txt", "nothing");
  const PipelineFolder pipeline(folder_);
  EXPECT_THAT(pipeline.faults(), ElementsAre(HasSubstr("must have config.json"), HasSubstr("vae"),
                                             HasSubstr("T5TokenizerFast")));
  EXPECT_THROW(pipeline.component_folder("tokenizer"), CheckpointError);
  try {
    pipeline.component_folder("schedular");
    FAIL() << "an unknown component was accepted";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'scheduler'"));
  }
}

TEST_F(PipelineFolderTest, RefusesWhatIsNoPipelineFolder) {
  EXPECT_THAT(error_message(), HasSubstr("no model_index.json"));
  write("model_index.json", "{ not json");
  EXPECT_THAT(error_message(), HasSubstr("_class_name"));
  write("model_index.json", R"({"_class_name": "WanPipeline", "vae": ["diffusers"]})");
  EXPECT_THAT(error_message(), HasSubstr("[library, class]"));
  EXPECT_THROW(PipelineFolder(folder_ / "absent"), CheckpointError);
}

}  // namespace
}  // namespace zoetrope
