#include "zoetrope/base/model_path.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using ::testing::HasSubstr;

/// Points every cache variable into an empty folder and restores them afterwards.
class ModelPathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kVariables) {
      const char* value = std::getenv(name);
      saved_.emplace_back(name,
                          value != nullptr ? std::optional<std::string>(value) : std::nullopt);
      ::unsetenv(name);
    }
    ::setenv("HOME", folder_.path().c_str(), 1);
  }
  void TearDown() override {
    for (const auto& [name, value] : saved_) {
      if (value) {
        ::setenv(name, value->c_str(), 1);
      } else {
        ::unsetenv(name);
      }
    }
  }

  /// Adds a cached model to the hub cache `hub` and gives its snapshot folder.
  static std::filesystem::path add_model(const std::filesystem::path& hub) {
    const auto repository = hub / "models--Org--Model-1.3B";
    std::filesystem::create_directories(repository / "refs");
    std::filesystem::create_directories(repository / "snapshots" / "abc123");
    std::ofstream(repository / "refs" / "main") << "abc123\n";
    return repository / "snapshots" / "abc123";
  }

  static std::string error_of(const std::string& name) {
    return test::error_of([&] { resolve_model_path(name); });
  }

  static constexpr const char* kVariables[] = {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};
  test::TemporaryFolder folder_;
  std::vector<std::pair<const char*, std::optional<std::string>>> saved_;
};

TEST_F(ModelPathTest, a_local_folder_is_itself) {
  EXPECT_EQ(resolve_model_path(folder_.path().string()), folder_.path());
  std::filesystem::create_directories(folder_.path() / "models" / "wan");
  EXPECT_EQ(resolve_model_path("~/models/wan"), folder_.path() / "models" / "wan");
}

TEST_F(ModelPathTest, finds_the_cache_in_every_place) {
  const auto home = add_model(folder_.path() / ".cache" / "huggingface" / "hub");
  EXPECT_EQ(resolve_model_path("Org/Model-1.3B"), home);

  const auto xdg = add_model(folder_.path() / "xdg" / "huggingface" / "hub");
  ::setenv("XDG_CACHE_HOME", (folder_.path() / "xdg").c_str(), 1);
  EXPECT_EQ(resolve_model_path("Org/Model-1.3B"), xdg);

  const auto hf_home = add_model(folder_.path() / "hf" / "hub");
  ::setenv("HF_HOME", (folder_.path() / "hf").c_str(), 1);
  EXPECT_EQ(resolve_model_path("Org/Model-1.3B"), hf_home);

  const auto hub = add_model(folder_.path() / "hub");
  ::setenv("HF_HUB_CACHE", (folder_.path() / "hub").c_str(), 1);
  EXPECT_EQ(resolve_model_path("Org/Model-1.3B"), hub);
}

TEST_F(ModelPathTest, an_absent_model_names_the_download_command) {
  ::setenv("HF_HUB_CACHE", "/nowhere", 1);
  EXPECT_EQ(error_of("Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers: must be a local folder or a model in the Hugging "
            "Face cache /nowhere, but "
            "is neither; get it with: hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers");
}

TEST_F(ModelPathTest, a_half_downloaded_model_counts_as_absent) {
  const auto snapshot = add_model(folder_.path() / "hub");
  ::setenv("HF_HUB_CACHE", (folder_.path() / "hub").c_str(), 1);
  std::filesystem::remove(snapshot);
  EXPECT_THAT(error_of("Org/Model-1.3B"), HasSubstr("hf download Org/Model-1.3B"));
}

TEST_F(ModelPathTest, says_what_is_wrong_with_a_path) {
  const auto file = folder_.path() / "file";
  std::ofstream(file) << "x";
  EXPECT_EQ(error_of(file.string()), file.string() + ": must be a model folder, but it is a file");
  for (const char* path : {"./absent", "/absent", "a/b/c", "<PATH_TO_PRETRAIN_CKPT>", ""}) {
    EXPECT_EQ(error_of(path),
              std::string(path) +
                  ": must be a model folder or a Hugging Face name, but there is no such folder");
  }
}

}  // namespace
}  // namespace zoetrope
