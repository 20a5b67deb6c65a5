// The plan's bytes of parameters against those that a ParameterStore and AdamW really allocate, and
// what changes with the layout.
#include "zoetrope/plan/memory_plan.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plan_runs.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_parameters.h"

namespace zoetrope {
namespace {

double bytes_of(const MemoryPlan& plan, const std::string& name, const std::string& role = "") {
  double bytes = 0;
  for (const MemoryPart& part : plan.always) {
    if (part.name == name && (role.empty() || part.role == role)) bytes += part.bytes;
  }
  return bytes;
}

struct StoreBytes {
  double parameters = 0;
  double gradients = 0;
};

StoreBytes allocate(const RunDescription& run) {
  const RoleDescription& role = run.roles.front();
  const ParameterStore store(wan_transformer_parameter_specs(role.network, run.mesh.tensor),
                             {.compute_dtype = run.compute_bytes == 2 ? at::kBFloat16 : at::kFloat,
                              .trainable = role.trainable,
                              .num_shards = run.mesh.shard});
  StoreBytes bytes;
  for (const ParameterGroup& group : store.groups()) {
    bytes.parameters += static_cast<double>(group.flat_value.nbytes());
    if (group.flat_master.defined() && !group.flat_master.is_same(group.flat_value))
      bytes.parameters += static_cast<double>(group.flat_master.nbytes());
    if (group.flat_gradient.defined())
      bytes.gradients += static_cast<double>(group.flat_gradient.nbytes());
  }
  return bytes;
}

TEST(MemoryPlan, parameters_and_gradients_are_those_of_the_store) {
  for (const MeshSizes& mesh : {MeshSizes{}, MeshSizes{.shard = 2}, MeshSizes{.shard = 8},
                                MeshSizes{.tensor = 4}, MeshSizes{.shard = 2, .tensor = 2}}) {
    for (const int64_t compute_bytes : {2, 4}) {
      for (const bool trainable : {true, false}) {
        RunDescription run = test::fine_tuning();
        run.mesh = mesh;
        run.compute_bytes = compute_bytes;
        run.roles.front().trainable = trainable;
        if (!trainable) run.work.passes.front().differentiable = false;
        const MemoryPlan plan = plan_memory(run);
        const StoreBytes store = allocate(run);
        SCOPED_TRACE(testing::Message() << mesh.shard << " shards, " << mesh.tensor << " tensor, "
                                        << compute_bytes << " bytes, trainable " << trainable);
        EXPECT_EQ(bytes_of(plan, "parameters"), store.parameters);
        EXPECT_EQ(bytes_of(plan, "gradients"), store.gradients);
      }
    }
  }
}

TEST(MemoryPlan, moments_and_average_are_fp32_of_a_shard) {
  RunDescription run = test::fine_tuning();
  run.roles.front().has_average = true;
  run.mesh.shard = 4;
  const MemoryPlan plan = plan_memory(run);
  const double elements = static_cast<double>(base_size(run, run.roles.front()).elements());
  EXPECT_EQ(bytes_of(plan, "optimizer"), 8 * elements / 4);
  EXPECT_EQ(bytes_of(plan, "EMA"), 4 * elements / 4);
}

TEST(MemoryPlan, adapters_are_whole_and_their_base_is_sharded_and_frozen) {
  RunDescription run = test::fine_tuning();
  run.roles.front().lora = LoraOptions{4, 4, {"to_q"}};
  run.mesh.shard = 2;
  const MemoryPlan plan = plan_memory(run);
  const auto& role = run.roles.front();
  EXPECT_EQ(bytes_of(plan, "parameters"),
            static_cast<double>(run.compute_bytes * base_size(run, role).elements()) / 2);
  const auto adapters = static_cast<double>(trained_size(run, role).elements());
  EXPECT_EQ(bytes_of(plan, "adapters"), 6 * adapters);
  EXPECT_EQ(bytes_of(plan, "optimizer"), 8 * adapters);
}

TEST(MemoryPlan, checkpointing_and_sequence_parallel_shrink_activations) {
  const auto activations = [](const RunDescription& run) {
    const MemoryPlan plan = plan_memory(run);
    double most = 0;
    for (const MemoryMoment& moment : plan.moments) {
      for (const MemoryPart& part : moment.parts) {
        if (part.name == "activations") most = std::max(most, part.bytes);
      }
    }
    return most;
  };
  RunDescription run = test::fine_tuning();
  run.roles.front().network.num_layers = 20;
  const double all = activations(run);
  run.mesh.sequence = run.mesh.shard = 2;
  EXPECT_NEAR(activations(run) / all, 0.5, 0.02);
  run.mesh.sequence = 1;
  run.roles.front().checkpointing = true;
  EXPECT_LT(activations(run), 0.2 * all);
}

TEST(MemoryPlan, a_cache_holds_keys_and_values_of_its_window) {
  RunDescription run = test::self_forcing();
  const double all_frames = bytes_of(plan_memory(run), "key-value cache");
  RoleDescription& student = run.roles.front();
  student.cache_frames = 6;
  const auto per_frame =
      static_cast<double>(2 * run.compute_bytes * run.batch_size * run.tokens_per_frame(student) *
                          student.network.width() * student.network.num_layers);
  EXPECT_EQ(all_frames - bytes_of(plan_memory(run), "key-value cache"),
            static_cast<double>(run.num_frames - 6) * per_frame);
}

TEST(MemoryPlan, parallel_ranks_share_a_cache_by_heads) {
  RunDescription run = test::self_forcing();
  run.text_tokens = 0;
  const double whole = bytes_of(plan_memory(run), "key-value cache");
  run.mesh = {.shard = 2, .sequence = 2, .tensor = 2};
  EXPECT_EQ(bytes_of(plan_memory(run), "key-value cache"), whole / 4);
}

TEST(MemoryPlan, the_text_encoder_is_a_moment_of_its_own) {
  RunDescription run = test::fine_tuning();
  run.text_encoder_parameters = 1'000'000'000;
  const MemoryPlan plan = plan_memory(run);
  EXPECT_EQ(plan.peak().name, "embedding of prompts");
  EXPECT_NE(plan.peak_of_step().name, "embedding of prompts");
}

}  // namespace
}  // namespace zoetrope
