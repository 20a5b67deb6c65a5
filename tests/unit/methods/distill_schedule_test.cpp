#include "zoetrope/methods/distribution_matching/distill_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/config_faults.h"
#include "zoetrope/methods/distribution_matching/streaming_long_tuning_config.h"

namespace zoetrope {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kOtherKeys = R"(rollout_mode: simulate
dmd_denoising_steps: [1000, 500]
fake_score_learning_rate: 1
fake_score_betas: [0, 0.9]
fake_score_lr_scheduler: constant
)";

/// The method's config, and its faults for clips of `num_latent_frames`.
struct Read {
  explicit Read(const std::string& yaml, int64_t num_latent_frames = 12) {
    const config::Node node = config::parse_yaml(kOtherKeys + yaml, "f");
    config::Issues issues;
    const bool ok =
        config::schema_of<StreamingLongTuningConfig>().read(node, &config, {issues, "method"});
    if (ok) config.check_run(node, {.num_latent_frames = num_latent_frames}, {issues, "method"});
    faults = issues.faults();
    stages = config.stages(num_latent_frames);
  }
  StreamingLongTuningConfig config;
  std::vector<std::string> faults;
  std::vector<DistillStage> stages;
};

TEST(DistillSchedule, IsOneEndlessStreamingStageWithoutEntries) {
  for (const char* form :
       {"", "multi_phased_distill_schedule:\n", "multi_phased_distill_schedule: ''\n"}) {
    const Read read(form);
    EXPECT_THAT(read.faults, IsEmpty()) << form;
    ASSERT_EQ(read.stages.size(), 1U);
    EXPECT_TRUE(read.stages[0].streaming);
    EXPECT_EQ(read.stages[0].name, "streaming_long");
    EXPECT_EQ(read.stages[0].start_step, 0);
    EXPECT_FALSE(read.stages[0].end_step.has_value());
    EXPECT_EQ(read.stages[0].num_frames, 12);
  }
  EXPECT_EQ(Read("streaming_max_length: 9\n").stages[0].num_frames, 9);
}

TEST(DistillSchedule, TextGivesWholeClipsFirstAndThenStreaming) {
  const Read read(
      "multi_phased_distill_schedule: '700:6, 800 : 3000:12'\nstreaming_chunk_size: 6\n");
  EXPECT_THAT(read.faults, IsEmpty());
  ASSERT_EQ(read.stages.size(), 2U);
  EXPECT_FALSE(read.stages[0].streaming);
  EXPECT_EQ(read.stages[0].start_step, 0);
  EXPECT_EQ(read.stages[0].end_step, 700);
  EXPECT_EQ(read.stages[0].num_frames, 6);
  EXPECT_TRUE(read.stages[1].streaming);
  EXPECT_EQ(read.stages[1].start_step, 800);
  EXPECT_EQ(read.stages[1].end_step, 3000);
  EXPECT_EQ(read.stages[1].num_frames, 12);
  EXPECT_EQ(read.stages[1].chunk_size, 6);
}

TEST(DistillSchedule, ListTakesWhatIsAbsentFromTheStageBeforeAndTheMethod) {
  const Read read(R"(chunk_size: 3
streaming_max_length: 11
streaming_fixed_overlap_latents: 1
multi_phased_distill_schedule:
- {end_step: 5, max_length: 6}
- {name: long, end_step: 9, num_latent_t: 12, streaming_chunk_size: 4}
- {stage: extra, streaming_training: true, streaming_max_length: 10, streaming_fixed_overlap_latents: 2}
)");
  EXPECT_THAT(read.faults, IsEmpty());
  ASSERT_EQ(read.stages.size(), 3U);
  EXPECT_EQ(read.stages[0].name, "self_forcing");
  EXPECT_FALSE(read.stages[0].streaming);
  EXPECT_EQ(read.stages[0].num_frames, 6);
  EXPECT_TRUE(read.stages[1].streaming);
  EXPECT_EQ(read.stages[1].start_step, 5);
  EXPECT_EQ(read.stages[1].num_frames, 12);
  EXPECT_EQ(read.stages[1].chunk_size, 4);
  EXPECT_EQ(read.stages[1].overlap, 1);
  EXPECT_EQ(read.stages[2].start_step, 9);
  EXPECT_FALSE(read.stages[2].end_step.has_value());
  EXPECT_EQ(read.stages[2].num_frames, 10);
  EXPECT_EQ(read.stages[2].chunk_size, 3);
  EXPECT_EQ(read.stages[2].overlap, 2);
}

TEST(DistillSchedule, WindowsAreOfTheStagesSizeThenTheMethodsThenOfOneBlock) {
  const std::string schedule = "chunk_size: 2\nmulti_phased_distill_schedule: ";
  EXPECT_EQ(Read(schedule + "[{stage: long, streaming_chunk_size: 3}]\nstreaming_chunk_size: 5\n")
                .stages[0]
                .chunk_size,
            3);
  EXPECT_EQ(Read(schedule + "[{stage: long}]\nstreaming_chunk_size: 5\n").stages[0].chunk_size, 5);
  EXPECT_EQ(Read(schedule + "[{stage: long}]\n").stages[0].chunk_size, 2);
}

TEST(DistillSchedule, SelectsTheStageOfAStepAndElseTheLast) {
  const auto stages = Read(R"(multi_phased_distill_schedule:
- {end_step: 10}
- {stage: long, start_step: 20, end_step: 30}
)")
                          .stages;
  for (const auto& [step, stage] : std::vector<std::pair<int64_t, size_t>>{
           {0, 0}, {1, 0}, {9, 0}, {10, 1}, {19, 1}, {20, 1}, {29, 1}, {99, 1}})
    EXPECT_EQ(select_stage(stages, step), stage) << step;
  const auto open = Read(R"(multi_phased_distill_schedule:
- {end_step: 10}
- {stage: long}
)")
                        .stages;
  EXPECT_EQ(select_stage(open, 9), 0U);
  EXPECT_EQ(select_stage(open, 10), 1U);
  EXPECT_EQ(select_stage(open, 10000), 1U);
}

TEST(DistillSchedule, NewFramesFollowFromOverlapOrAreDrawnInWholeBlocks) {
  DistillStage stage;
  stage.num_frames = 12;
  stage.chunk_size = 7;
  stage.block_size = 2;
  stage.overlap = 3;
  EXPECT_THAT(stage.new_frame_choices(0), ElementsAre(7));
  EXPECT_THAT(stage.new_frame_choices(7), ElementsAre(4));
  EXPECT_THAT(stage.new_frame_choices(11), ElementsAre(1));
  stage.overlap.reset();
  stage.least_new_frames = 3;
  EXPECT_THAT(stage.new_frame_choices(0), ElementsAre(7));
  EXPECT_THAT(stage.new_frame_choices(5), ElementsAre(3, 5)) << "7 itself is not drawn";
  EXPECT_THAT(stage.new_frame_choices(8), ElementsAre(3));
  EXPECT_THAT(stage.new_frame_choices(9), ElementsAre(3));
  EXPECT_THAT(stage.new_frame_choices(10), ElementsAre(2)) << "what is left";
}

TEST(DistillSchedule, ListsEveryFaultWithItsLine) {
  EXPECT_THAT(Read(R"(chunk_size: 3
multi_phased_distill_schedule:
- {end_step: 10}
- {stage: long, start_step: 5, end_step: 5}
- {stage: long, streaming_chunk_size: 4, streaming_fixed_overlap_latents: 4}
- {stage: long, start_step: 40}
)")
                  .faults,
              ElementsAre(AllOf(HasSubstr("f:9: method.multi_phased_distill_schedule[1]: "),
                                HasSubstr("start_step must be at least 10, where the stage before "
                                          "ends, but got 5")),
                          AllOf(HasSubstr("f:9: "), HasSubstr("end_step must be greater than "
                                                              "start_step, which is 5, but got 5")),
                          AllOf(HasSubstr("f:10: method.multi_phased_distill_schedule[2]: "),
                                HasSubstr("streaming_fixed_overlap_latents must be at least 0 and "
                                          "smaller than streaming_chunk_size, which is 4, but got "
                                          "4")),
                          AllOf(HasSubstr("f:11: "),
                                HasSubstr("must come after a stage with an end_step"))));
}

TEST(DistillSchedule, RefusesValuesThatAreNoSchedule) {
  const auto faults = [](const std::string& value) {
    return Read("multi_phased_distill_schedule: " + value + "\n").faults;
  };
  EXPECT_THAT(faults("7"), ElementsAre(HasSubstr("`end:frames` or `start:end:frames`")));
  EXPECT_THAT(faults("'1:2:3:4,a:2'"),
              ElementsAre(HasSubstr("but got '1:2:3:4'"), HasSubstr("but got 'a:2'")));
  EXPECT_THAT(faults("','"), ElementsAre(HasSubstr("must have at least one stage")));
  EXPECT_THAT(faults("[]"), ElementsAre(HasSubstr("must have at least one stage")));
  EXPECT_THAT(faults("{end_step: 3}"), ElementsAre(HasSubstr("must be a list of stages, text")));
  EXPECT_THAT(faults("[{num_latent_t: 0, streaming_chunk_size: 0, end: 3}]"),
              ElementsAre(HasSubstr("num_latent_t: must be at least 1"),
                          HasSubstr("streaming_chunk_size: must be at least 1"),
                          HasSubstr("must be a known key, but got 'end'")));
  EXPECT_THAT(faults("[{stage: long, streaming_training: perhaps}]"),
              ElementsAre(HasSubstr("streaming_training: must be true or false")));
}

TEST(DistillSchedule, RefusesClipsLongerThanTheData) {
  EXPECT_THAT(Read("multi_phased_distill_schedule: '5:6,9:13'\n").faults,
              ElementsAre(AllOf(HasSubstr("method.multi_phased_distill_schedule[1]"),
                                HasSubstr("at most training.data.num_latent_t = 12 latent frames"),
                                HasSubstr("but have 13"))));
  EXPECT_THAT(Read("streaming_max_length: 13\n").faults,
              ElementsAre(AllOf(HasSubstr("f:1: method: "), HasSubstr("but have 13"))));
}

TEST(DistillSchedule, RefusesCutBlocksWhenAsked) {
  const std::string keys = "chunk_size: 3\nstreaming_chunk_size: 6\n";
  const std::string asked = keys + "streaming_require_full_blocks: true\n";
  EXPECT_THAT(Read(asked + "streaming_fixed_overlap_latents: 3\n").faults, IsEmpty());
  EXPECT_THAT(Read(asked + "streaming_fixed_overlap_latents: 2\n").faults,
              ElementsAre(HasSubstr("must be a multiple of chunk_size = 3, but can be 4")));
  EXPECT_THAT(Read(keys + "streaming_fixed_overlap_latents: 2\n").faults, IsEmpty());
  EXPECT_THAT(Read(asked + "streaming_min_new_frame: 3\n").faults, IsEmpty());
  EXPECT_THAT(Read(asked, 11).faults, ElementsAre(HasSubstr("but can be 5")));
}

TEST(DistillSchedule, IsWrittenAsItIsRead) {
  for (const char* form :
       {"", "multi_phased_distill_schedule: '700:6,3000:12'\n",
        "multi_phased_distill_schedule: [{name: long, end_step: 7}, {stage: short}]\n"}) {
    const Read read(form);
    const config::Node written = config::schema_of<StreamingLongTuningConfig>().write(&read.config);
    StreamingLongTuningConfig again;
    config::Issues issues;
    config::schema_of<StreamingLongTuningConfig>().read(written, &again, {issues, "method"});
    EXPECT_THAT(issues.faults(), IsEmpty());
    EXPECT_EQ(write_yaml(config::schema_of<StreamingLongTuningConfig>().write(&again)),
              write_yaml(written));
  }
}

TEST(DistillSchedule, WholeClipsNeedAGradientAndWindowsHaveOne) {
  // Blocks of 3: the last ones of clips of 6 and 9 frames begin with frames 3 and 6.
  const std::string schedule = "multi_phased_distill_schedule: '10:9, 20:12'\n";
  EXPECT_THAT(Read(schedule + "start_gradient_frame: 6\n").faults, IsEmpty());
  EXPECT_THAT(Read(schedule + "start_gradient_frame: 7\n").faults,
              ElementsAre(AllOf(HasSubstr("f:7: method.start_gradient_frame: must be at most 6"),
                                HasSubstr("clips of 9 latent frames"))));
  EXPECT_THAT(Read("start_gradient_frame: 11\n").faults, IsEmpty()) << "streaming all the time";
  EXPECT_THAT(Read("multi_phased_distill_schedule:\n- {end_step: 5, num_latent_t: 9}\n"
                   "- {num_latent_t: 6}\nstart_gradient_frame: 6\n")
                  .faults,
              ElementsAre(HasSubstr("clips of 6 latent frames")));
}

TEST(DistillSchedule, MethodsFaultsAreListedWithThoseOfStages) {
  const config::RunFacts run{
      .num_latent_frames = 6, .has_latents = false, .frames_per_block = {{"student", 2}}};
  EXPECT_THAT(
      test::config_faults<StreamingLongTuningConfig>(
          std::string(kOtherKeys) + "multi_phased_distill_schedule: '10:9'\nchunk_size: 3\n", run),
      ElementsAre(HasSubstr("clips must have at least 1 and at most"),
                  HasSubstr("f:7: method.chunk_size: must be the student's")));
}

}  // namespace
}  // namespace zoetrope
