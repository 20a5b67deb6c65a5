#include "zoetrope/base/progress.h"

#include <cmath>
#include <cstdlib>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace zoetrope {
namespace {

// A stream in memory and a clock that the test turns.
class ProgressTest : public ::testing::Test {
 public:
  ~ProgressTest() override {
    std::fclose(stream_);
    std::free(text_);
  }

 protected:
  ProgressTest() : stream_(open_memstream(&text_, &size_)) {}
  Progress::Output output(bool is_terminal) {
    return {stream_, is_terminal, [this] { return now_sec_; }};
  }
  std::string written() {
    std::fflush(stream_);
    return {text_, size_};
  }

  char* text_ = nullptr;
  size_t size_ = 0;
  std::FILE* stream_;
  double now_sec_ = 1000.0;
};

TEST_F(ProgressTest, PrintsAnOccasionalLineElsewhereThanOnATerminal) {
  {
    Progress progress("preprocess", 40, "clips", 0, output(false));
    for (int i = 0; i < 20; ++i) {
      now_sec_ += 1.0;
      progress.advance();
    }
  }
  EXPECT_EQ(written(),
            "preprocess  [#####               ]  10/40 clips  25%  1/s  30s left\n"
            "preprocess  [##########          ]  20/40 clips  50%  1/s  20s left\n"
            "preprocess  [##########          ]  20/40 clips  50%  1/s  20s left\n");
}

TEST_F(ProgressTest, RedrawsOnATerminal) {
  Progress progress("copy", 4, "files", 0, output(true));
  now_sec_ += 0.1;
  progress.advance();
  EXPECT_EQ(written(), "") << "too early to draw";
  now_sec_ += 0.1;
  progress.advance();
  progress.print("note");
  now_sec_ += 0.2;
  progress.advance(2);
  progress.finish();
  progress.finish();
  progress.advance();
  EXPECT_EQ(written(),
            "\r\033[Kcopy  [##########          ]  2/4 files  50%  10/s  0s left"
            "\r\033[Knote\n"
            "\r\033[Kcopy  [##########          ]  2/4 files  50%  10/s  0s left"
            "\r\033[Kcopy  [####################]  4/4 files  100%  10/s  in 0s"
            "\r\033[Kcopy  [####################]  4/4 files  100%  10/s  in 0s\n");
}

TEST_F(ProgressTest, EarlierWorkCountsButNotInTheRate) {
  Progress progress("preprocess", 100, "clips", 90, output(false));
  now_sec_ += 10.0;
  progress.advance(5);
  EXPECT_EQ(written(), "preprocess  [################### ]  95/100 clips  95%  0.5/s  10s left\n");
}

TEST_F(ProgressTest, AnUnknownTotalHasNoBar) {
  Progress progress("scan", 0, "files", 0, output(false));
  now_sec_ += 20.0;
  progress.advance(50);
  EXPECT_EQ(written(), "scan  50 files  2.5/s  in 20s\n");
}

TEST_F(ProgressTest, ThreadsCountTogether) {
  {
    Progress progress("work", 8000, "items", 0, output(false));
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) progress.advance();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_THAT(written(), ::testing::HasSubstr("8000/8000 items  100%"));
}

TEST(FormatDuration, IsShort) {
  EXPECT_EQ(format_duration(0.4), "0s");
  EXPECT_EQ(format_duration(59.9), "59s");
  EXPECT_EQ(format_duration(185.0), "3m05s");
  EXPECT_EQ(format_duration(7620.0), "2h07m");
  EXPECT_EQ(format_duration(-1.0), "?");
  EXPECT_EQ(format_duration(INFINITY), "?");
}

TEST(FormatShortNumber, NeedsNoExponent) {
  EXPECT_EQ(format_short_number(0.0342), "0.0342");
  EXPECT_EQ(format_short_number(7.256), "7.26");
  EXPECT_EQ(format_short_number(412.4), "412");
  EXPECT_EQ(format_short_number(9999.0), "9999");
  EXPECT_EQ(format_short_number(12345.0), "12.3k");
  EXPECT_EQ(format_short_number(4.51e6), "4.5M");
}

}  // namespace
}  // namespace zoetrope
