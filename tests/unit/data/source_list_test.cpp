// Lists of videos: folders with captions beside them, CSV, JSON lines, FastVideo's JSON.
#include "zoetrope/data/preprocess/source_list.h"

#include <fstream>

#include <gmock/gmock.h>

#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/data/preprocess/buckets.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

class SourceList : public testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& text) const {
    fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }
  auto listing(const fs::path& path) const {
    return [path] { list_videos(path); };
  }

  test::TemporaryFolder folder_;
};

TEST_F(SourceList, FoldersAreSearchedInOrder) {
  write("b.mp4", "x");
  write("b.txt", " a cat \n");
  write("a/deep.MKV", "x");
  write("notes.txt", "not a caption");
  const auto entries = list_videos(folder_.path());
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].id, "a/deep");
  EXPECT_THAT(entries[0].captions, IsEmpty());
  EXPECT_EQ(entries[1].id, "b");
  EXPECT_EQ(entries[1].name, "b.mp4");
  EXPECT_THAT(entries[1].captions, ElementsAre("a cat"));
}

TEST_F(SourceList, ReadsFastVideosJson) {
  write("videos/one.mp4", "x");
  write("videos2caption.json",
        R"([{"path": "one.mp4", "cap": ["first wording", "second wording"], "fps": 25.0,
             "resolution": {"width": 8, "height": 8}}, {"path": "two.mp4", "cap": null}])");
  const auto entries = list_videos(folder_.path());
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].video, folder_ / "videos/one.mp4");
  EXPECT_THAT(entries[0].captions, ElementsAre("first wording", "second wording"));
  EXPECT_EQ(entries[1].id, "two");
  EXPECT_THAT(entries[1].captions, IsEmpty());
  EXPECT_EQ(list_videos(folder_ / "videos2caption.json").size(), 2U);
}

TEST_F(SourceList, ReadsCsvWithQuotesAndStarts) {
  const fs::path list = write("list.csv",
                              "\xef\xbb\xbfvideo,caption,start\r\n"
                              "a.mp4,\"red, then \"\"blue\"\"\nand green\",\r\n"
                              "\r\n"
                              "a.mp4,later,2.5\n"
                              "b.mp4,,0\n");
  const auto entries = list_videos(list);
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_THAT(entries[0].captions, ElementsAre("red, then \"blue\"\nand green"));
  EXPECT_EQ(entries[0].video, folder_ / "a.mp4");
  EXPECT_EQ(entries[0].start_sec, 0.0);
  EXPECT_EQ(entries[1].id, "a#2");
  EXPECT_EQ(entries[1].start_sec, 2.5);
  EXPECT_THAT(entries[2].captions, IsEmpty());
}

TEST_F(SourceList, ReadsJsonLines) {
  const fs::path list = write("list.jsonl",
                              "{\"path\": \"/abs/a.mp4\", \"caption\": \"one\"}\n\n"
                              "{\"file_name\": \"b.mp4\", \"text\": \"two\", \"start\": 1}\n");
  const auto entries = list_videos(list);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].video, "/abs/a.mp4");
  EXPECT_EQ(entries[1].start_sec, 1.0);
}

TEST_F(SourceList, NamesTheLineOfAFault) {
  EXPECT_THAT(listing(folder_ / "absent"), ThrowsMessage<DataError>(HasSubstr("does not exist")));
  EXPECT_THAT(listing(folder_.path()), ThrowsMessage<DataError>(HasSubstr("at least one video")));
  EXPECT_THAT(listing(write("list.yaml", "x")), ThrowsMessage<DataError>(HasSubstr("'.yaml'")));
  EXPECT_THAT(listing(write("broken.jsonl", "{\"path\": \"a.mp4\"}\n{\"path\": \n")),
              ThrowsMessage<DataError>(AllOf(HasSubstr("broken.jsonl:2"), HasSubstr("JSON"))));
  EXPECT_THAT(listing(write("fields.csv", "video,caption\na.mp4,red, blue\n")),
              ThrowsMessage<DataError>(AllOf(HasSubstr("fields.csv:2"), HasSubstr("has 3"))));
  EXPECT_THAT(listing(write("quote.csv", "video,caption\na.mp4,\"red\n")),
              ThrowsMessage<DataError>(AllOf(HasSubstr("quote.csv:2"), HasSubstr("quote"))));
  EXPECT_THAT(listing(write("start.csv", "video,caption,start\na.mp4,red,soon\n")),
              ThrowsMessage<DataError>(AllOf(HasSubstr("start.csv:2"), HasSubstr("\"soon\""))));
  EXPECT_THAT(listing(write("empty.csv", "")), ThrowsMessage<DataError>(HasSubstr("empty.csv")));
  EXPECT_THAT(listing(write("map.json", "{\"a.mp4\": \"red\"}")),
              ThrowsMessage<DataError>(HasSubstr("must be a list")));
  EXPECT_THAT(listing(write("none.jsonl", "{\"caption\": \"red\"}\n")),
              ThrowsMessage<DataError>(HasSubstr("--text-only")));
}

TEST_F(SourceList, TextsNeedNoVideo) {
  const auto lines = list_texts(write("prompts.txt", "one\n\n  two \n"));
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].id, "000000");
  EXPECT_THAT(lines[1].captions, ElementsAre("two"));
  EXPECT_EQ(list_texts(write("p.jsonl", "{\"prompt\": \"red\"}\n")).size(), 1U);
  EXPECT_THAT([&] { list_texts(write("none.txt", "\n")); },
              ThrowsMessage<DataError>(HasSubstr("at least one caption")));
}

TEST(Buckets, AreChosenByAspectRatio) {
  const std::vector<Bucket> buckets = parse_buckets("480x832,832x480,480x480,240x416", 16);
  EXPECT_EQ(choose_bucket(buckets, 1080, 1920), (Bucket{480, 832}));
  EXPECT_EQ(choose_bucket(buckets, 1920, 1080), (Bucket{832, 480}));
  EXPECT_EQ(choose_bucket(buckets, 500, 512), (Bucket{480, 480}));
  EXPECT_EQ(choose_bucket(buckets, 240, 416), (Bucket{240, 416}));
}

TEST(Buckets, RefusesOtherTexts) {
  for (const char* text : {"", "480", "480x", "x832", "480x832,", "480*832", "-16x16", "0x16"}) {
    EXPECT_THROW(parse_buckets(text, 16), ConfigError) << text;
  }
  EXPECT_THAT([] { parse_buckets("480x830", 16); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("multiples of 16"), HasSubstr("830"))));
}

}  // namespace
}  // namespace zoetrope
