// Actions out of files that Python wrote in every format, and what is said of faulty ones.
#include "zoetrope/data/actions/action_file.h"

#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const fs::path kFiles = fs::path(ZOETROPE_SOURCE_DIR) / "tests/golden/actions";

// As tools/reference/make_action_files.py says.
at::Tensor expected_keyboard() {
  return at::arange(5).unsqueeze(1).add(at::arange(3)).remainder(2).to(at::kFloat);
}
at::Tensor expected_mouse() {
  return at::arange(5).unsqueeze(1).mul(at::tensor({0.25F, -0.5F}));
}

class ActionFiles : public testing::TestWithParam<const char*> {};

TEST_P(ActionFiles, GiveWhatWasWritten) {
  const std::string name = GetParam();
  const FrameActions actions = read_action_file(kFiles / name);
  EXPECT_EQ(actions.num_frames(), 5);
  EXPECT_TRUE(at::equal(actions.keyboard_FK, expected_keyboard()));
  if (name.starts_with("keyboard")) {
    EXPECT_FALSE(actions.mouse_F2.defined());
    EXPECT_EQ(actions.describe_controls(), "3 keys and no mouse");
  } else {
    EXPECT_TRUE(at::equal(actions.mouse_F2, expected_mouse()));
    EXPECT_EQ(actions.describe_controls(), "3 keys and a mouse");
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, ActionFiles,
                         testing::Values("lines.jsonl", "columns.csv", "stored.npz", "deflated.npz",
                                         "keyboard.npy", "fastvideo.npy", "lists.parquet",
                                         "keyboard.parquet"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

class FaultyActions : public testing::Test {
 protected:
  std::string error_of(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return test::error_of([&] { read_action_file(folder_ / name); });
  }

  test::TemporaryFolder folder_;
};

TEST_F(FaultyActions, EveryBadRowIsNamed) {
  EXPECT_THAT(error_of("a.jsonl",
                       "{\"keyboard\": [0, 1]}\n{\"keyboard\": [0]}\n{\"keyboard\": [1, 1]}\n"
                       "{\"keyboard\": [0, 1, 2]}\n"),
              AllOf(HasSubstr("a.jsonl"), HasSubstr("row 1 has 1 keyboard values, not 2"),
                    HasSubstr("row 3 has 3 keyboard values"), Not(HasSubstr("row 2"))));
  EXPECT_THAT(error_of("a.csv", "mouse_0,mouse_1\n0,0.5\nnan,0\n0,0\n"),
              AllOf(HasSubstr("row 1 has a mouse value that is not finite")));
  EXPECT_THAT(error_of("b.csv", "keyboard_0,mouse_0\n0,0.5\n"), HasSubstr("row 0 has 1 mouse"));
}

TEST_F(FaultyActions, MuchTheSameIsCutShort) {
  std::string lines = "{\"mouse\": [0, 0]}\n";
  for (int i = 0; i < 100; ++i) lines += "{\"mouse\": [0]}\n";
  EXPECT_THAT(error_of("a.jsonl", lines), AllOf(HasSubstr("row 20"), HasSubstr("and 80 more")));
}

TEST_F(FaultyActions, FilesThatAreNoActionsAreRefused) {
  EXPECT_THAT(error_of("a.jsonl", "{\"keybord\": [0]}\n"), HasSubstr("keyboard or mouse"));
  EXPECT_THAT(error_of("a.jsonl", "{\"keyboard\": [0]}\n{\"keyboard\"\n"), HasSubstr("a.jsonl:2"));
  EXPECT_THAT(error_of("a.csv", "keyboard_0\nx\n"), HasSubstr("a.csv:2"));
  EXPECT_THAT(error_of("a.txt", "0 1"), HasSubstr(".jsonl"));
  EXPECT_THAT(error_of("a.parquet", "PAR1"), HasSubstr("a.parquet"));
}

TEST_F(FaultyActions, EveryTruncationOfANumpyFileIsAnError) {
  for (const char* name : {"stored.npz", "deflated.npz", "keyboard.npy", "fastvideo.npy"}) {
    const std::string bytes = read_file(kFiles / name);
    for (size_t length = 0; length < bytes.size(); length += 1 + length / 8) {
      EXPECT_THAT(error_of(name, bytes.substr(0, length)), HasSubstr(name)) << length;
    }
  }
}

TEST_F(FaultyActions, ExactlyOneFileLiesBesideAVideo) {
  EXPECT_THAT(test::error_of([&] { find_action_file(folder_ / "a.mp4"); }), HasSubstr("has 0"));
  std::ofstream(folder_ / "a.csv") << "";
  EXPECT_EQ(find_action_file(folder_ / "a.mp4"), folder_ / "a.csv");
  std::ofstream(folder_ / "a.jsonl") << "";
  EXPECT_THAT(test::error_of([&] { find_action_file(folder_ / "a.mp4"); }), HasSubstr("has 2"));
}

}  // namespace
}  // namespace zoetrope
