// The line about batch and update ratio.
#include "zoetrope/train/update_summary.h"

#include <gtest/gtest.h>

namespace zoetrope {
namespace {

struct PlainConfig {
  static void describe(config::Schema<PlainConfig>& /*schema*/) {}
};

struct AlternatingConfig {
  int64_t generator_update_interval = 5;
  static void describe(config::Schema<AlternatingConfig>& schema) {
    schema.field("generator_update_interval", &AlternatingConfig::generator_update_interval, "");
  }
};

template <class Method>
RunConfig run_with(const Method& method) {
  static const config::Target target{.name = "m", .schema = &config::schema_of<Method>()};
  RunConfig run;
  run.method = {&target, std::make_shared<Method>(method)};
  run.training.distributed.resolve();
  return run;
}

TEST(UpdateSummary, of_one_rank) {
  RunConfig run = run_with(PlainConfig());
  run.training.data.train_batch_size = 3;
  run.training.loop.gradient_accumulation_steps = 2;
  EXPECT_EQ(describe_updates(run),
            "6 samples an update = batch 3 x accumulation 2 x 1 rank; the student updates at every "
            "step");
}

TEST(UpdateSummary, of_ranks_and_a_critic) {
  RunConfig run = run_with(AlternatingConfig());
  run.training.loop.gradient_accumulation_steps = 8;
  run.training.distributed.num_gpus = 8;
  run.training.distributed.sp_size = 1;
  EXPECT_EQ(describe_updates(run),
            "64 samples an update = batch 1 x accumulation 8 x 8 ranks; the student updates at "
            "every 5th step, the critic at every step");
  EXPECT_NE(describe_updates(run_with(AlternatingConfig{1}))
                .find("the student and the critic update at every step"),
            std::string::npos);
  EXPECT_NE(describe_updates(run_with(AlternatingConfig{22})).find("every 22nd step"),
            std::string::npos);
}

TEST(UpdateSummary, ranks_that_share_a_sample_count_once) {
  RunConfig run = run_with(PlainConfig());
  run.training.distributed.num_gpus = 64;
  run.training.distributed.sp_size = 4;
  EXPECT_EQ(describe_updates(run),
            "16 samples an update = batch 1 x accumulation 1 x 16 groups of 4 ranks; the student "
            "updates at every step");
  run.training.distributed.tp_size = 2;
  EXPECT_EQ(describe_updates(run),
            "8 samples an update = batch 1 x accumulation 1 x 8 groups of 8 ranks; the student "
            "updates at every step");
}

}  // namespace
}  // namespace zoetrope
