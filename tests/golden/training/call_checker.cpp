#include "golden/training/call_checker.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "golden/training/replayed_models.h"

namespace zoetrope::test {
namespace {

using nlohmann::json;

constexpr double kTableTolerance = 1e-6;

void clear_logs(const RunState& run) {
  for (const auto& [role, model] : run.method.roles().all()) log_of(*model) = {};
}

/// One value for all rows where the reference has one, or a row of frames for each.
at::Tensor timestep_of_rows(const at::Tensor& timestep, int64_t num_rows) {
  std::vector<int64_t> shape = timestep.sizes().vec();
  shape[0] = num_rows;
  return timestep.expand(shape);
}

at::Tensor twice(const at::Tensor& rows) {
  return at::cat({rows, rows});
}

bool is_of_a_recorded_kind(const NetworkCall& call, const RecordedCalls& recorded) {
  return call.is_streaming ? recorded.has_streaming : recorded.has_whole_clip;
}

}  // namespace

// What was asked for before the first step is not recorded: making the teacher's trajectories.
void CallChecker::on_train_start(RunState& run) {
  clear_logs(run);
}

void CallChecker::on_before_optimizer_step(RunState& run,
                                           std::vector<OptimizerUpdate>& /*updates*/) {
  const RecordedCalls recorded = recorded_calls(golden_.step(run.step), golden_);
  for (const RecordedCall& call : recorded.calls)
    ASSERT_TRUE(run.method.roles().contains(call.role)) << call.role;
  for (const auto& [role, model] : run.method.roles().all())
    check_role(role, log_of(*model), recorded, run.step);
  check_batches(log_of(run.method.student()), run.step);
}

void CallChecker::on_training_step_end(RunState& run) {
  clear_logs(run);
}

void CallChecker::check_role(const std::string& role, const ModelLog& log,
                             const RecordedCalls& recorded, int64_t step) {
  std::vector<NetworkCall> made;
  std::copy_if(log.calls.begin(), log.calls.end(), std::back_inserter(made),
               [&](const NetworkCall& call) { return is_of_a_recorded_kind(call, recorded); });
  std::vector<RecordedCall> expected;
  std::copy_if(recorded.calls.begin(), recorded.calls.end(), std::back_inserter(expected),
               [&](const RecordedCall& call) { return call.role == role; });
  ASSERT_EQ(made.size(), expected.size()) << "calls of " << role << " at step " << step;
  for (size_t i = 0; i < made.size(); ++i) {
    SCOPED_TRACE(fmt::format("step {}, call {} of {}", step, i, role));
    check_call(made[i], expected[i], step);
    num_passes_ += expected[i].num_passes();
  }
}

void CallChecker::check_call(const NetworkCall& call, const RecordedCall& recorded, int64_t step) {
  ASSERT_EQ(call.is_streaming, recorded.is_streaming);
  EXPECT_EQ(call.store_kv, recorded.store_kv);
  EXPECT_EQ(call.start_frame, recorded.start_frame);
  const auto tensor = [&](const std::string& key) { return golden_.tensor(key); };
  const double tolerance = checker_.forward_tolerance(step);
  // Behind the latents' channels, those of game networks may have the image's.
  const at::Tensor noisy = tensor(recorded.noisy).narrow(2, 0, call.noisy_BTCHW.size(2));
  const int64_t num_rows = noisy.size(0);
  const bool is_guided = !recorded.unconditional_output.empty();
  const bool has_both_halves = is_guided && call.noisy_BTCHW.size(0) == 2 * num_rows;
  const auto rows = [&](const at::Tensor& given) { return has_both_halves ? twice(given) : given; };
  EXPECT_TENSOR_CLOSE(call.noisy_BTCHW, rows(noisy), tolerance);
  EXPECT_TENSOR_CLOSE(call.timestep, rows(timestep_of_rows(tensor(recorded.timestep), num_rows)),
                      0.0);
  if (!recorded.clean.empty()) {
    EXPECT_TENSOR_CLOSE(call.clean_BTCHW, rows(tensor(recorded.clean)), tolerance);
  }
  if (recorded.output.empty()) return;
  at::Tensor output = tensor(recorded.output);
  if (is_guided && !has_both_halves) {
    EXPECT_TRUE(options_.guidance_scale == 1.0 ||
                at::equal(output, tensor(recorded.unconditional_output)))
        << "the unconditional pass is missing";
  }
  if (has_both_halves) output = at::cat({output, tensor(recorded.unconditional_output)});
  EXPECT_TENSOR_CLOSE(call.velocity_BTCHW, output, checker_.velocity_tolerance(step));
}

// The reference's teacher prepares batches for its trajectories only, before the first step.
void CallChecker::check_batches(const ModelLog& log, int64_t step) {
  std::vector<json> expected;
  for (const json& event : golden_.step(step)["events"]) {
    if (event["kind"] == "prepare_batch" && event["role"] == "student") expected.push_back(event);
  }
  ASSERT_EQ(log.batches.size(), expected.size()) << "batches of step " << step;
  for (size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(fmt::format("step {}, batch {}", step, i));
    check_batch(log.batches[i], expected[i], step);
    ++num_batches_;
  }
}

void CallChecker::check_batch(const TrainingBatch& batch, const json& prepared, int64_t step) {
  const json& keys = prepared["keys"];
  const auto tensor = [&](const char* key) { return golden_.tensor(keys[key]); };
  const double tolerance = checker_.forward_tolerance(step);
  EXPECT_TENSOR_CLOSE(batch.timesteps_B, tensor("timesteps"), 0.0);
  EXPECT_TENSOR_CLOSE(batch.sigmas_B, tensor("sigmas").flatten(), kTableTolerance);
  EXPECT_TENSOR_CLOSE(batch.noise_BTCHW, tensor("noise").transpose(1, 2), 0.0);
  if (options_.compare_prepared_latents && prepared["latents_source"] == "data") {
    EXPECT_TENSOR_CLOSE(batch.latents_BTCHW, tensor("latents"), tolerance);
    const int64_t num_channels = batch.latents_BTCHW.size(2);
    EXPECT_TENSOR_CLOSE(batch.noisy_latents_BTCHW,
                        tensor("noisy_model_input").narrow(1, 0, num_channels).transpose(1, 2),
                        tolerance);
  }
  if (!keys.contains("image_latents")) return;
  const Conditioning& given = batch.conditional;
  EXPECT_TENSOR_CLOSE(given.image_latents_BTCHW, tensor("image_latents").transpose(1, 2),
                      tolerance);
  EXPECT_TENSOR_CLOSE(given.image_embedding_BLD, tensor("image_embeds"), tolerance);
  EXPECT_TENSOR_CLOSE(given.keyboard_BFK, tensor("keyboard_cond"), 0.0);
  EXPECT_TENSOR_CLOSE(given.mouse_BF2, tensor("mouse_cond"), 0.0);
}

}  // namespace zoetrope::test
