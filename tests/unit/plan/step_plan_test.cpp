// Work and traffic of a step against numbers worked out by hand.
#include "zoetrope/plan/step_plan.h"

#include <gtest/gtest.h>

#include "plan_runs.h"
#include "zoetrope/base/error.h"
#include "zoetrope/plan/plan_report.h"

namespace zoetrope {
namespace {

const LinkTraffic& traffic_of(const StepPlan& step, const std::string& operation) {
  for (const LinkTraffic& traffic : step.traffic) {
    if (traffic.operation == operation) return traffic;
  }
  throw Error("no " + operation);
}

TEST(StepPlan, flops_of_a_large_network_are_six_for_each_parameter_and_token) {
  RunDescription run = test::fine_tuning(test::large_network());
  run.text_tokens = 0;
  const StepPlan step = plan_step(run, 8);
  const RoleDescription& student = run.roles.front();
  const double tokens = static_cast<double>(step.tokens_per_sample);
  EXPECT_EQ(tokens, 21 * 30 * 52);
  const auto& network = student.network;
  const double attention =
      12.0 * static_cast<double>(network.num_layers * network.width()) * tokens * tokens;
  // Keys and values of the text and the embedders are parameters that tokens do not pass.
  const double unused =
      static_cast<double>(network.num_layers * 2 * network.width() * network.width());
  const double parameters = static_cast<double>(base_size(run, student).parameters) - unused;
  EXPECT_NEAR(step.flops(), 6 * parameters * tokens + attention, 0.02 * step.flops());
}

TEST(StepPlan, recomputation_is_one_more_forward_pass) {
  RunDescription run = test::fine_tuning();
  const double without = plan_step(run, 8).flops();
  run.roles.front().checkpointing = true;
  EXPECT_DOUBLE_EQ(plan_step(run, 8).flops(), without / 3 * 4);
}

TEST(StepPlan, passes_count_by_how_often_they_are_made) {
  RunDescription run = test::fine_tuning();
  const double every_step = plan_step(run, 8).flops();
  run.work.passes.front().every_steps = 5;
  run.accumulation = 2;
  EXPECT_DOUBLE_EQ(plan_step(run, 8).flops(), every_step / 5 * 2);
}

TEST(StepPlan, bytes_of_a_sharded_step) {
  RunDescription run = test::fine_tuning();
  run.mesh = {.replicate = 2, .shard = 4};
  run.accumulation = 3;
  const StepPlan step = plan_step(run, 4);
  const NetworkSize size = base_size(run, run.roles.front());
  const auto blocks = static_cast<double>(size.blocks);
  const auto root = static_cast<double>(size.root);
  // bf16 values: blocks for both passes, the root once; fp32 gradients once; of each 3/4 leave.
  EXPECT_DOUBLE_EQ(traffic_of(step, "all-gather of parameters").bytes,
                   3 * 0.75 * 2 * (2 * blocks + root));
  EXPECT_DOUBLE_EQ(traffic_of(step, "reduce-scatter of gradients").bytes,
                   3 * 0.75 * 4 * (blocks + root));
  // Half of a shard's sum goes each way, once a step.
  EXPECT_DOUBLE_EQ(traffic_of(step, "all-reduce of gradients").bytes,
                   2 * 4 * (blocks + root) / 4 / 2);
  EXPECT_FALSE(traffic_of(step, "all-gather of parameters").between_machines);
  EXPECT_TRUE(traffic_of(step, "all-reduce of gradients").between_machines);
}

TEST(StepPlan, bytes_of_a_shared_sequence) {
  RunDescription run = test::fine_tuning();
  run.mesh = {.shard = 4, .sequence = 4};
  const StepPlan step = plan_step(run, 8);
  const auto& network = run.roles.front().network;
  const auto padded = static_cast<double>((step.tokens_per_sample + 3) / 4 * 4);
  const double per_pass =
      4 * padded * static_cast<double>(network.width() * network.num_layers) * 2 * 3 / 16;
  EXPECT_DOUBLE_EQ(traffic_of(step, "all-to-all of heads").bytes, 2 * per_pass);
  EXPECT_EQ(step.num_samples, 1);
}

TEST(StepPlan, bytes_and_work_of_split_layers) {
  RunDescription run = test::fine_tuning();
  const double whole_flops = plan_step(run, 2).flops();
  const double whole_checkpoint = plan_step(run, 2).checkpoint_bytes;
  run.mesh = {.shard = 2, .tensor = 2};
  const StepPlan step = plan_step(run, 2);
  const auto& network = run.roles.front().network;
  const auto tokens = static_cast<double>(step.tokens_per_sample);
  const double entering = 3 * tokens + static_cast<double>(run.text_tokens);
  // bf16 outputs of three pairs of layers and the gradients of what entered them, text included;
  // fp32 squares of three queries and keys and the text's keys, and their gradients.
  const double summed =
      2 * static_cast<double>(network.width()) * (3 * tokens + entering) + 4 * 2 * entering;
  const LinkTraffic& sums = traffic_of(step, "all-reduce of split layers");
  EXPECT_DOUBLE_EQ(sums.bytes, static_cast<double>(network.num_layers) * summed * 2 / 2);
  EXPECT_FALSE(sums.between_machines);
  EXPECT_TRUE(traffic_of(step, "all-gather of parameters").between_machines);
  EXPECT_NEAR(step.flops() / whole_flops, 0.5, 0.05);
  EXPECT_EQ(step.checkpoint_bytes, whole_checkpoint);
}

TEST(StepPlan, time_waits_for_the_longer_of_computation_and_gathers) {
  RunDescription run = test::fine_tuning(test::large_network());
  run.mesh = {.shard = 8};
  const StepPlan step = plan_step(run, 8);
  Gpu gpu = find_gpu("h100-80g");
  const TimePlan time = plan_time(run, step, gpu, {});
  EXPECT_DOUBLE_EQ(time.step_sec(), time.compute_sec);
  gpu.local_gb_per_sec = 1e-3;
  const TimePlan slow = plan_time(run, step, gpu, {});
  EXPECT_DOUBLE_EQ(slow.step_sec(), slow.overlapped_sec);
}

TEST(GpuTable, an_unknown_name_is_answered_with_the_nearest) {
  EXPECT_EQ(find_gpu("h200-141g").bf16_tflops, 989);
  try {
    find_gpu("h100-80gb");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'h100-80g'?"), std::string::npos)
        << error.what();
  }
}

TEST(Suggestions, are_evaluated_and_lead_to_a_run_that_fits) {
  RunDescription run = test::fine_tuning(test::large_network());
  run.mesh = {.replicate = 8};
  const RunPlan plan = plan_run(run, gpu_target(find_gpu("h100-80g")));
  EXPECT_FALSE(plan.fits());
  ASSERT_FALSE(plan.suggestions.empty());
  EXPECT_TRUE(plan.suggestions.back().fits || plan.suggestions.front().fits);
  bool shards = false;
  for (const Suggestion& suggestion : plan.suggestions) {
    EXPECT_EQ(suggestion.fits, suggestion.peak_bytes <= plan.target.usable_bytes());
    shards = shards || suggestion.change.find("hsdp_shard_dim 8") != std::string::npos;
  }
  EXPECT_TRUE(shards);
  run.roles.front().network = test::small_network();
  EXPECT_TRUE(plan_run(run, gpu_target(find_gpu("h100-80g"))).suggestions.empty());
}

}  // namespace
}  // namespace zoetrope
