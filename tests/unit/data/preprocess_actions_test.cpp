// Preprocessing of videos with actions: every clip's rows are those of its own frames, whatever the
// frame rate and the place in the video; what does not fit is rejected by name.
#include <fstream>
#include <map>

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/data/preprocess/preprocessor.h"
#include "zoetrope/media/video_writer.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr int kFirstGrey = 10;
constexpr int kGreyStep = 8;

/// Latents are the grey of every frame.
class FrameGreyEncoder : public SampleEncoder {
 public:
  at::Tensor encode_clip(const at::Tensor& pixels_FHWC) override {
    return pixels_FHWC.to(at::kFloat).mean({1, 2, 3}).reshape({1, -1, 1, 1});
  }
  FirstFrameFeatures encode_first_frame(const at::Tensor& pixels_FHWC) override {
    return {at::full({5, 3}, pixels_FHWC[0].to(at::kFloat).mean().item<double>()),
            at::zeros({1, pixels_FHWC.size(0), 1, 1})};
  }
  at::Tensor encode_text(const std::string& caption) override {
    return at::ones({static_cast<int64_t>(caption.size()), 3});
  }
};

class PreprocessActions : public testing::Test {
 protected:
  static std::vector<media::Frame> frames(int num_frames) {
    std::vector<media::Frame> frames;
    for (int k = 0; k < num_frames; ++k) {
      media::Frame frame(24, 16);
      std::ranges::fill(frame.rgb, static_cast<uint8_t>(kFirstGrey + kGreyStep * k));
      frames.push_back(std::move(frame));
    }
    return frames;
  }

  /// Frame k is grey 10 + 8 k, its keys are (k, 1) and its mouse is (0, -k).
  void write_clip(const std::string& name, int num_frames, double fps) const {
    fs::create_directories(folder_ / "in");
    media::VideoWriterOptions options;
    options.fps = fps;
    options.crf = 1;
    media::write_video(folder_ / ("in/" + name + ".mp4"), frames(num_frames), options);
    write_actions(name, num_frames);
  }

  void write_actions(const std::string& name, int num_rows) const {
    std::ofstream file(folder_ / ("in/" + name + ".csv"));
    file << "keyboard_0,keyboard_1,mouse_0,mouse_1\n";
    for (int k = 0; k < num_rows; ++k) file << k << ",1,0," << -k << "\n";
  }

  PreprocessOptions options() const {
    PreprocessOptions options;
    options.output = folder_ / "out";
    options.schema = "matrixgame2";
    options.clips.fps = 16.0;
    options.clips.num_frames = 5;
    options.clips.clip_stride = 5;
    options.clips.buckets = {{16, 24}};
    return options;
  }

  static PreprocessSummary run(std::vector<SourceEntry> sources, const PreprocessOptions& options) {
    return preprocess(std::move(sources), options,
                      [] { return std::make_unique<FrameGreyEncoder>(); });
  }

  std::vector<ParquetRow> rows(const std::string& schema = "matrixgame2") const {
    const ParquetDataset dataset({{(folder_ / "out").string(), 1}}, parquet_schema(schema));
    std::vector<ParquetRow> rows;
    for (int64_t row = 0; row < dataset.num_rows(); ++row) rows.push_back(dataset.read(row));
    return rows;
  }

  /// The frames that the clip's picture shows, and that its actions belong to.
  static void expect_actions_of_frames(const ParquetRow& row) {
    SCOPED_TRACE(row.text("id"));
    const at::Tensor shown =
        row.tensors.at("vae_latent").flatten().sub(kFirstGrey).div(kGreyStep).round();
    const at::Tensor& keyboard = row.tensors.at("keyboard_cond");
    EXPECT_TRUE(at::equal(keyboard.select(1, 0), shown)) << keyboard.select(1, 0) << shown;
    EXPECT_TRUE(keyboard.select(1, 1).eq(1.0).all().item<bool>());
    EXPECT_TRUE(at::equal(row.tensors.at("mouse_cond").select(1, 1), -shown));
  }

  test::TemporaryFolder folder_;
};

TEST_F(PreprocessActions, ClipsHaveTheActionsOfTheirFrames) {
  write_clip("fast", 24, 24.0);  // frames are left out
  write_clip("same", 17, 16.0);
  write_clip("slow", 9, 8.0);  // frames are shown twice
  const PreprocessSummary summary = run(list_videos(folder_ / "in"), options());
  EXPECT_EQ(summary.num_complete, 3);
  const std::vector<ParquetRow> written = rows();
  ASSERT_EQ(written.size(), 3U + 3U + 3U);
  for (const ParquetRow& row : written) expect_actions_of_frames(row);
  EXPECT_EQ(written[1].tensors.at("keyboard_cond")[0][0].item<double>(), 7.0)
      << "grid frame 5 of `fast`";
  EXPECT_EQ(written[0].text("caption"), "");
  EXPECT_EQ(written[0].tensors.at("clip_feature").sizes(), (at::IntArrayRef{5, 3}));
}

TEST_F(PreprocessActions, AlsoFromAStartInTheMiddle) {
  write_clip("a", 24, 16.0);
  std::ofstream(folder_ / "list.csv") << "video,start,actions\nin/a.mp4,0.5,in/a.csv\n";
  PreprocessOptions overlapping = options();
  overlapping.clips.clip_stride = 3;
  EXPECT_EQ(run(list_videos(folder_ / "list.csv"), overlapping).num_rows, 4);
  for (const ParquetRow& row : rows()) expect_actions_of_frames(row);
  EXPECT_EQ(rows()[1].tensors.at("keyboard_cond")[0][0].item<double>(), 11.0);
}

TEST_F(PreprocessActions, WhatDoesNotFitIsRejectedByName) {
  for (const char* name : {"a", "few", "many", "none", "other", "bad"}) write_clip(name, 9, 16.0);
  write_actions("few", 8);
  write_actions("many", 10);
  fs::remove(folder_ / "in/none.csv");
  std::ofstream(folder_ / "in/other.csv") << "keyboard_0\n0\n0\n0\n0\n0\n0\n0\n0\n0\n";
  std::ofstream(folder_ / "in/bad.csv") << "keyboard_0,keyboard_1\n0,1\nnan,1\n";
  const PreprocessSummary summary = run(list_videos(folder_ / "in"), options());
  EXPECT_EQ(summary.num_sources, 6);
  EXPECT_EQ(summary.num_complete, 1);
  EXPECT_EQ(summary.num_rows, 1);
  std::map<std::string, std::string> reasons;
  for (const Reject& reject : summary.rejects) reasons[reject.id] = reject.reason;
  EXPECT_EQ(reasons.size(), 5U);
  EXPECT_THAT(reasons["few"], AllOf(HasSubstr("each of its 9 frames"), HasSubstr("has 8 rows")));
  EXPECT_THAT(reasons["many"], HasSubstr("has 10 rows"));
  EXPECT_THAT(reasons["none"], AllOf(HasSubstr("none.mp4"), HasSubstr("one file of actions")));
  EXPECT_THAT(reasons["other"],
              AllOf(HasSubstr("2 keys and a mouse"), HasSubstr("has 1 keys and no mouse")));
  EXPECT_THAT(reasons["bad"], AllOf(HasSubstr("bad.csv"), HasSubstr("row 1")));
}

TEST_F(PreprocessActions, RenderedClipsCarryTheirs) {
  std::vector<SourceEntry> sources(3);
  for (size_t i = 0; i < sources.size(); ++i) {
    sources[i].id = sources[i].name = fmt::format("made_{}", i);
    sources[i].render = [] { return frames(5); };
    sources[i].actions = FrameActions{at::full({5, 2}, static_cast<double>(i)), {}};
  }
  sources[1].actions->keyboard_FK = at::zeros({4, 2});
  PreprocessOptions one = options();
  one.clips.max_clips = 1;
  const PreprocessSummary summary = run(sources, one);
  ASSERT_EQ(summary.rejects.size(), 1U);
  EXPECT_THAT(summary.rejects[0].reason, HasSubstr("each of its 5 frames"));
  const std::vector<ParquetRow> written = rows();
  ASSERT_EQ(written.size(), 2U);
  EXPECT_TRUE(at::equal(written[1].tensors.at("keyboard_cond"), at::full({5, 2}, 2.0)));
  EXPECT_FALSE(written[1].tensors.contains("mouse_cond")) << "a game without a mouse";
}

TEST_F(PreprocessActions, ImageToVideoRowsHaveTextAndTheFirstFrame) {
  write_clip("a", 9, 16.0);
  std::ofstream(folder_ / "in/a.txt") << "grey";
  PreprocessOptions image = options();
  image.schema = "i2v";
  EXPECT_EQ(run(list_videos(folder_ / "in"), image).num_rows, 1);
  const ParquetRow row = rows("i2v").front();
  EXPECT_EQ(row.text("caption"), "grey");
  EXPECT_EQ(row.tensors.at("text_embedding").sizes(), (at::IntArrayRef{4, 3}));
  EXPECT_NEAR(row.tensors.at("clip_feature")[0][0].item<double>(), kFirstGrey, 2.0);
  EXPECT_EQ(row.tensors.at("first_frame_latent").sizes(), (at::IntArrayRef{1, 5, 1, 1}));
  EXPECT_EQ(detect_parquet_schema(folder_ / "out/worker_0/data_chunk_0.parquet").name, "i2v");
}

}  // namespace
}  // namespace zoetrope
