// What `zoetrope play` refuses before it loads a model. Playing itself is tested in a browser
// (tests/integration/browser).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/media/image.h"

namespace zoetrope::test {
namespace {

using testing::HasSubstr;

constexpr const char* kTextModel = ZOETROPE_SOURCE_DIR "/assets/tiny-wan";

void expect_refused(std::vector<std::string> options, const std::string& message) {
  options.insert(options.begin(), {"play", kTextModel});
  const CommandResult result = run_zoetrope(options);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.messages, HasSubstr(message));
}

/// Options that fit, and `more`.
std::vector<std::string> fitting(std::vector<std::string> more) {
  more.insert(more.begin(), {"--prompt", "a red square", "--height", "16", "--width", "32",
                             "--local-attn-size", "4"});
  return more;
}

TEST(PlayCommand, NeedsAStreamWithoutEnd) {
  expect_refused(fitting({"--pipeline", "wan-dmd"}), "--pipeline: must make videos block by block");
  expect_refused({"--prompt", "a red square", "--height", "16", "--width", "32"},
                 "--local-attn-size: must be given for a model without a window");
}

TEST(PlayCommand, TakesWhatTheModelTakes) {
  const TemporaryFolder folder;
  media::write_png(folder / "first.png", media::Frame(32, 16));
  expect_refused(fitting({"--image", (folder / "first.png").string()}),
                 "--image: must be left out for a model that takes no picture");
  expect_refused({"--local-attn-size", "4"}, "--prompt: must be given for a model that takes text");
  expect_refused(fitting({"--keys", "w,s"}), "--keys: must name the model's 0 keys, but names 2");
}

TEST(PlayCommand, NeedsASizeThatFits) {
  expect_refused({"--prompt", "a", "--local-attn-size", "4", "--height", "16"},
                 "--height and --width: must be given both");
  expect_refused({"--prompt", "a", "--local-attn-size", "4", "--height", "16", "--width", "40"},
                 "--height and --width: must be multiples of 16 and 16, but are 16 and 40");
}

}  // namespace
}  // namespace zoetrope::test
