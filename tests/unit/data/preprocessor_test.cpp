// Preprocessing with an encoder that needs no network: what is written, what is rejected, and that
// a run that was stopped at any point ends with the same files.
#include "zoetrope/data/preprocess/preprocessor.h"

#include <csignal>
#include <fstream>
#include <map>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/temporary_folder.h"
#include "support/test_videos.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/folder_lock.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/media/video_writer.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// Latents are the mean grey of every fourth frame; a text is as long as its caption.
class GreyEncoder : public SampleEncoder {
 public:
  struct Calls {
    int64_t num_clips = 0;
    std::map<std::string, int64_t> texts;
    int64_t stop_before_clip = -1;
  };
  explicit GreyEncoder(Calls& calls) : calls_(calls) {}

  at::Tensor encode_clip(const at::Tensor& pixels_FHWC) override {
    if (calls_.num_clips++ == calls_.stop_before_clip) throw Error("stopped by the test");
    const at::Tensor grey_F = pixels_FHWC.to(at::kFloat).mean({1, 2, 3});
    return grey_F.slice(0, 0, std::nullopt, 4).reshape({1, -1, 1, 1}).expand({4, -1, 2, 3}).clone();
  }
  FirstFrameFeatures encode_first_frame(const at::Tensor& /*pixels_FHWC*/) override {
    throw Error("no row has image features");
  }
  at::Tensor encode_text(const std::string& caption) override {
    ++calls_.texts[caption];
    return at::ones({static_cast<int64_t>(caption.size()), 3});
  }

 private:
  Calls& calls_;
};

class Preprocessor : public testing::Test {
 protected:
  void SetUp() override {
    write_clip("a.mp4", 20, 16.0);
    write_clip("b.mp4", 9, 8.0);
    write_clip("c.mp4", 5, 16.0);
    fs::create_directories(folder_ / "in");
  }

  /// Frame k of the video is grey 10 + 8 * k.
  void write_clip(const std::string& name, int num_frames, double fps) const {
    fs::create_directories(folder_ / "in");
    std::vector<media::Frame> frames;
    for (int k = 0; k < num_frames; ++k) {
      media::Frame frame(48, 32);
      std::fill(frame.rgb.begin(), frame.rgb.end(), static_cast<uint8_t>(10 + 8 * k));
      frames.push_back(std::move(frame));
    }
    media::VideoWriterOptions options;
    options.fps = fps;
    options.crf = 1;
    media::write_video(folder_ / ("in/" + name), frames, options);
    std::ofstream(folder_ / "in" / fs::path(name).replace_extension(".txt")) << "grey " + name;
  }

  PreprocessOptions options(const std::string& output = "out") const {
    PreprocessOptions options;
    options.output = folder_ / output;
    options.encoder_name = "grey";
    options.rows_per_file = 2;
    options.clips.fps = 16.0;
    options.clips.num_frames = 5;
    options.clips.clip_stride = 5;
    options.clips.buckets = {{16, 24}};
    return options;
  }

  PreprocessSummary run(const PreprocessOptions& options) {
    return preprocess(list_videos(folder_ / "in"), options,
                      [this] { return std::make_unique<GreyEncoder>(calls_); });
  }

  std::vector<std::string> ids_in(const std::string& output) const {
    const ParquetDataset dataset({{(folder_ / output).string(), 1}}, parquet_schema("t2v"));
    std::vector<std::string> ids;
    for (int64_t row = 0; row < dataset.num_rows(); ++row) {
      ids.push_back(dataset.read(row).text("id"));
    }
    return ids;
  }

  std::map<std::string, std::string> bytes_in(const std::string& output) const {
    std::map<std::string, std::string> bytes;
    for (const auto& file : fs::directory_iterator(folder_ / output / "worker_0")) {
      bytes[file.path().filename()] = read_file(file.path());
    }
    return bytes;
  }

  test::TemporaryFolder folder_;
  GreyEncoder::Calls calls_;
};

TEST_F(Preprocessor, WritesEveryClipWithItsColumns) {
  const PreprocessSummary summary = run(options());
  EXPECT_EQ(summary.num_sources, 3);
  EXPECT_EQ(summary.num_complete, 3);
  // 20 frames at 16 fps give 4 clips of 5; 9 frames at 8 fps give 18 grid frames; 5 give one.
  EXPECT_EQ(summary.num_rows, 4 + 3 + 1);
  EXPECT_THAT(ids_in("out"), ElementsAre("a_clip0000", "a_clip0001", "a_clip0002", "a_clip0003",
                                         "b_clip0000", "b_clip0001", "b_clip0002", "c_clip0000"));
  const ParquetDataset dataset({{(folder_ / "out").string(), 1}}, parquet_schema("t2v"));
  EXPECT_EQ(dataset.lengths(), (std::vector<int64_t>{2, 2, 2, 2}));
  const ParquetRow row = dataset.read(1);
  EXPECT_EQ(row.text("caption"), "grey a.mp4");
  EXPECT_EQ(row.text("file_name"), "a.mp4");
  EXPECT_EQ(row.text("media_type"), "video");
  EXPECT_EQ(row.integers.at("width"), 24);
  EXPECT_EQ(row.integers.at("height"), 16);
  EXPECT_EQ(row.integers.at("num_frames"), 2);
  EXPECT_EQ(row.numbers.at("fps"), 16.0);
  EXPECT_EQ(row.numbers.at("duration_sec"), 5.0 / 16.0);
  EXPECT_EQ(row.tensors.at("text_embedding").sizes(), (at::IntArrayRef{10, 3}));
  const at::Tensor latent = row.tensors.at("vae_latent");
  EXPECT_EQ(latent.sizes(), (at::IntArrayRef{4, 2, 2, 3}));
  // Second clip of `a`: frames 5 and 9.
  EXPECT_NEAR(latent[0][0][0][0].item<double>(), 10 + 8 * 5, 3.0);
  EXPECT_NEAR(latent[0][1][0][0].item<double>(), 10 + 8 * 9, 3.0);
  for (const auto& [caption, count] : calls_.texts) EXPECT_EQ(count, 1) << caption;
}

TEST_F(Preprocessor, ListsEveryRejectAndCountsAddUp) {
  std::ofstream(folder_ / "in/empty.mp4").close();
  std::ofstream(folder_ / "in/empty.txt") << "nothing";
  std::ofstream(folder_ / "in/text.mp4") << "this is no video";
  std::ofstream(folder_ / "in/text.txt") << "a text";
  fs::remove(folder_ / "in/b.txt");
  write_clip("short.mp4", 3, 16.0);
  const std::string whole = read_file(folder_ / "in/a.mp4");
  std::ofstream(folder_ / "in/cut.mp4", std::ios::binary) << whole.substr(0, whole.size() / 2);
  std::ofstream(folder_ / "in/cut.txt") << "cut off";

  const PreprocessSummary summary = run(options());
  EXPECT_EQ(summary.num_sources, 7);
  EXPECT_EQ(summary.num_complete, 2);
  EXPECT_EQ(summary.num_rows, 5);
  std::map<std::string, std::string> reasons;
  for (const Reject& reject : summary.rejects) reasons[reject.id] = reject.reason;
  EXPECT_EQ(reasons.size(), 5U);
  EXPECT_THAT(reasons["b"],
              AllOf(HasSubstr("b.mp4"), HasSubstr("must have a caption"), HasSubstr("b.txt")));
  EXPECT_THAT(reasons["empty"], HasSubstr("empty.mp4"));
  EXPECT_THAT(reasons["text"], HasSubstr("text.mp4"));
  EXPECT_THAT(reasons["cut"], HasSubstr("cut.mp4"));
  EXPECT_THAT(reasons["short"], AllOf(HasSubstr("at least 5 frames"), HasSubstr("has 3")));
  const std::string listed = read_file(summary.rejects_path);
  EXPECT_EQ(std::count(listed.begin(), listed.end(), '\n'), 5);
  EXPECT_THAT(listed, HasSubstr("\"id\":\"short\""));
}

TEST_F(Preprocessor, AClipOfAPhoneHeldUprightIsTurnedAndGoesToAPortraitBucket) {
  test::TestVideo video = test::brightening(5, 16);
  video.container = "mp4";
  video.codec = "libx264";
  video.constant_rate = true;
  video.width = 48;
  video.rotation_degrees = 90;
  test::make_test_video(folder_ / "in/phone.mp4", video);
  std::ofstream(folder_ / "in/phone.txt") << "upright";
  for (const char* other : {"in/a.mp4", "in/b.mp4", "in/c.mp4"}) fs::remove(folder_ / other);
  PreprocessOptions both = options();
  both.clips.buckets = {{16, 24}, {24, 16}};
  EXPECT_EQ(run(both).num_rows, 1);
  const ParquetDataset dataset({{(folder_ / "out").string(), 1}}, parquet_schema("t2v"));
  const ParquetRow row = dataset.read(0);
  EXPECT_EQ(row.integers.at("width"), 16);
  EXPECT_EQ(row.integers.at("height"), 24);
}

TEST_F(Preprocessor, AMissingFileOfAListIsARejectOnly) {
  std::ofstream(folder_ / "list.csv") << "video,caption\nin/absent.mp4,gone\nin/c.mp4,there\n";
  const PreprocessSummary summary =
      preprocess(list_videos(folder_ / "list.csv"), options(),
                 [this] { return std::make_unique<GreyEncoder>(calls_); });
  EXPECT_EQ(summary.num_rows, 1);
  ASSERT_EQ(summary.rejects.size(), 1U);
  EXPECT_THAT(summary.rejects[0].reason,
              AllOf(HasSubstr("absent.mp4"), HasSubstr("does not exist")));
}

TEST_F(Preprocessor, OneClipPerVideoKeepsTheVideosName) {
  PreprocessOptions one = options();
  one.clips.max_clips = 1;
  run(one);
  EXPECT_THAT(ids_in("out"), ElementsAre("a", "b", "c"));
}

TEST_F(Preprocessor, OverlappingClipsAndStarts) {
  std::ofstream(folder_ / "list.csv") << "video,caption,start\nin/a.mp4,late,0.5\n";
  PreprocessOptions overlapping = options();
  overlapping.clips.clip_stride = 3;
  const PreprocessSummary summary =
      preprocess(list_videos(folder_ / "list.csv"), overlapping,
                 [this] { return std::make_unique<GreyEncoder>(calls_); });
  EXPECT_EQ(summary.num_rows, 3);  // frames 8-12, 11-15, 14-18
  const ParquetDataset dataset({{(folder_ / "out").string(), 1}}, parquet_schema("t2v"));
  EXPECT_NEAR(dataset.read(0).tensors.at("vae_latent")[0][0][0][0].item<double>(), 10 + 8 * 8, 3.0);
  EXPECT_NEAR(dataset.read(1).tensors.at("vae_latent")[0][0][0][0].item<double>(), 10 + 8 * 11,
              3.0);
}

TEST_F(Preprocessor, TheNumberOfThreadsChangesNothing) {
  run(options("one"));
  for (const int64_t threads : {2, 5}) {
    PreprocessOptions many = options("many" + std::to_string(threads));
    many.clips.num_threads = threads;
    run(many);
    EXPECT_EQ(bytes_in("one"), bytes_in("many" + std::to_string(threads)));
  }
}

TEST_F(Preprocessor, GoesOnAfterAStopAtAnyPointWithNothingLostOrDoubled) {
  std::ofstream(folder_ / "in/bad.mp4").close();  // a reject in the middle
  std::ofstream(folder_ / "in/bad.txt") << "bad";
  run(options("whole"));
  const auto expected = bytes_in("whole");
  for (int64_t stop = 0; stop < 8; ++stop) {
    const std::string output = "stopped" + std::to_string(stop);
    calls_ = {};
    calls_.stop_before_clip = stop;
    EXPECT_THROW(run(options(output)), Error) << stop;
    const int64_t finished_before = stop / 2 * 2;
    // What a kill in the middle of a write leaves.
    std::ofstream(folder_ / output / "worker_0/data_chunk_9.parquet.partial-77") << "half";
    calls_ = {};
    const PreprocessSummary summary = run(options(output));
    EXPECT_EQ(calls_.num_clips, 8 - finished_before) << stop;
    EXPECT_EQ(summary.num_rows, 8);
    EXPECT_EQ(bytes_in(output), expected) << stop;
  }
}

TEST_F(Preprocessor, AChunkWithoutItsManifestLineIsWrittenAgain) {
  run(options("whole"));
  calls_ = {};
  calls_.stop_before_clip = 3;
  EXPECT_THROW(run(options()), Error);
  // The kill came between the second file and the manifest.
  fs::copy(folder_ / "whole/worker_0/data_chunk_1.parquet", folder_ / "out/worker_0");
  calls_ = {};
  run(options());
  EXPECT_EQ(bytes_in("out"), bytes_in("whole"));
}

TEST_F(Preprocessor, AFinishedRunDoesNothingAgain) {
  run(options());
  calls_ = {};
  const PreprocessSummary summary =
      preprocess(list_videos(folder_ / "in"), options(),
                 []() -> std::unique_ptr<SampleEncoder> { throw Error("no encoder is needed"); });
  EXPECT_TRUE(summary.was_finished);
  EXPECT_EQ(summary.num_rows, 8);
}

TEST_F(Preprocessor, RefusesToMixSettingsInOneFolder) {
  run(options());
  PreprocessOptions other = options();
  other.clips.fps = 8.0;
  EXPECT_THAT([&] { run(other); },
              ThrowsMessage<DataError>(AllOf(HasSubstr("fps was 16"), HasSubstr("is now 8"))));
  write_clip("new.mp4", 5, 16.0);
  EXPECT_THAT([&] { run(options()); },
              ThrowsMessage<DataError>(HasSubstr("num_sources was 3 and is now 4")));
  fs::remove(folder_ / "out/worker_0/manifest.jsonl");
  EXPECT_THAT([&] { run(options()); }, ThrowsMessage<DataError>(HasSubstr("no manifest.jsonl")));
}

TEST_F(Preprocessor, RefusesAFolderThatAnotherProcessIsWriting) {
  run(options("whole"));
  {
    const FolderLock other(folder_ / "out/worker_0");
    EXPECT_THAT(
        [&] { run(options()); },
        ThrowsMessage<Error>(AllOf(HasSubstr("out/worker_0: must be written by one process"),
                                   HasSubstr(fmt::format("process {}", getpid())))));
    PreprocessOptions second = options();
    second.shard = 1;
    second.num_shards = 2;
    EXPECT_EQ(run(second).num_rows, 3) << "another shard has a folder of its own";
  }
  fs::remove_all(folder_ / "out/worker_1");
  run(options());
  EXPECT_EQ(bytes_in("out"), bytes_in("whole"));
}

TEST_F(Preprocessor, ShardsTogetherHoldEverySource) {
  for (const int64_t shard : {0, 1}) {
    PreprocessOptions part = options();
    part.shard = shard;
    part.num_shards = 2;
    run(part);
  }
  EXPECT_EQ(ids_in("out").size(), 8U);
  EXPECT_TRUE(fs::exists(folder_ / "out/worker_1/data_chunk_0.parquet"));
}

TEST_F(Preprocessor, TextsAlone) {
  std::ofstream(folder_ / "prompts.txt") << "red\nblue\nred\n";
  PreprocessOptions texts = options();
  texts.schema = "text_only";
  const PreprocessSummary summary = preprocess(list_texts(folder_ / "prompts.txt"), texts, [this] {
    return std::make_unique<GreyEncoder>(calls_);
  });
  EXPECT_EQ(summary.num_rows, 3);
  EXPECT_EQ(calls_.texts["red"], 1);
  const ParquetDataset dataset({{(folder_ / "out").string(), 1}}, parquet_schema("text_only"));
  EXPECT_EQ(dataset.num_rows(), 3);
  EXPECT_EQ(dataset.read(1).text("id"), "text_000001");
  EXPECT_EQ(dataset.read(1).text("caption"), "blue");
}

TEST_F(Preprocessor, AFullDiskStopsTheRunAndItGoesOnLater) {
  run(options("whole"));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{2048, before.rlim_max};
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THAT([&] { run(options()); }, ThrowsMessage<Error>(AllOf(HasSubstr("data_chunk_0.parquet"),
                                                                  HasSubstr("cannot be written"))));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  run(options());
  EXPECT_EQ(bytes_in("out"), bytes_in("whole"));
}

}  // namespace
}  // namespace zoetrope
