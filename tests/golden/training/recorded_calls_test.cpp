// Which recorded passes are compared: the rules on made-up steps, and their numbers in the cases
// that the project carries.
#include "golden/training/recorded_calls.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/golden.h"

namespace zoetrope::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;

json pass(const std::string& role, const std::string& name, bool conditional = true) {
  return {{"kind", "predict_noise"},
          {"role", role},
          {"conditional", conditional},
          {"keys", {{"noisy", "clip4"}, {"t", "t"}, {"out", name}}}};
}

json stored_block(int64_t start_frame) {
  return {{"kind", "predict_noise_streaming"},
          {"role", "student"},
          {"conditional", true},
          {"store_kv", true},
          {"cur_start_frame", start_frame},
          {"keys", {{"noisy", "clip2"}, {"t", "t"}}}};
}

json drawn(int64_t value) {
  return {{"kind", "rng"}, {"fn", "randint"}, {"key", "drawn" + std::to_string(value)}};
}

json rollout() {
  return {{"kind", "_student_rollout"}, {"key", "clip4"}};
}

json losses(const json& metrics = json::object()) {
  return {{"kind", "loss_map"}, {"metrics", metrics}};
}

at::Tensor made_up_tensor(const std::string& key) {
  if (key.starts_with("drawn")) return at::full({1}, std::stol(key.substr(5)), at::kLong);
  return at::zeros({1, key == "clip2" ? 2 : 4, 1, 1, 1});
}

RecordedCalls read(const json& events) {
  return recorded_calls({{"events", events}}, made_up_tensor);
}

std::vector<std::string> outputs(const RecordedCalls& recorded) {
  std::vector<std::string> names;
  for (const RecordedCall& call : recorded.calls) names.push_back(call.output);
  return names;
}

std::vector<int64_t> starts(const RecordedCalls& recorded) {
  std::vector<int64_t> frames;
  for (const RecordedCall& call : recorded.calls) frames.push_back(call.start_frame);
  return frames;
}

json rollout_of_four_steps(int64_t target) {
  return {drawn(target),
          pass("student", "0"),
          pass("student", "1"),
          pass("student", "2"),
          pass("student", "last"),
          rollout(),
          pass("critic", "critic"),
          losses()};
}

TEST(RecordedCalls, OfRolloutsEndAtTheDrawnStep) {
  EXPECT_THAT(outputs(read(rollout_of_four_steps(0))), ElementsAre("last", "critic"));
  EXPECT_THAT(outputs(read(rollout_of_four_steps(2))), ElementsAre("0", "1", "last", "critic"));
  EXPECT_THAT(outputs(read(rollout_of_four_steps(3))),
              ElementsAre("0", "1", "2", "last", "critic"));
  EXPECT_EQ(read(rollout_of_four_steps(0)).num_left_out, 3);
}

TEST(RecordedCalls, OfRolloutsFromDataAreOne) {
  const RecordedCalls recorded = read({drawn(3), pass("student", "only"), rollout(), losses()});
  EXPECT_THAT(outputs(recorded), ElementsAre("only"));
  EXPECT_EQ(recorded.num_left_out, 0);
}

TEST(RecordedCalls, LeaveOutTheStoringOfAClipsLastBlock) {
  EXPECT_THAT(starts(read({stored_block(0), stored_block(2), rollout(), losses()})),
              ElementsAre(0));
}

TEST(RecordedCalls, OfAWindowStoreTheBlockThatTheClipGoesOnFrom) {
  const auto window = [](double num_frames) {
    return read({stored_block(0), stored_block(2), pass("critic", ""),
                 losses({{"streaming_max_length", num_frames}})});
  };
  EXPECT_THAT(starts(window(8)), ElementsAre(0, 2, 0));
  EXPECT_THAT(starts(window(4)), ElementsAre(0, 0));
}

TEST(RecordedCalls, OfAGuidedTeacherAreOne) {
  const RecordedCalls recorded =
      read({pass("teacher", "with"), pass("teacher", "without", false), losses()});
  ASSERT_EQ(recorded.calls.size(), 1U);
  EXPECT_EQ(recorded.calls[0].unconditional_output, "without");
  EXPECT_EQ(recorded.num_passes(), 2);
  EXPECT_THROW(read(json::array({pass("teacher", "without", false)})), std::runtime_error);
}

struct Numbers {
  int64_t compared = 0;
  int64_t left_out = 0;
};

Numbers numbers_of(const std::string& name) {
  const GoldenCase golden(reference_root() / name);
  Numbers sum;
  for (const json& step : golden.json()["steps"]) {
    const RecordedCalls recorded = recorded_calls(step, golden);
    sum.compared += recorded.num_passes();
    sum.left_out += recorded.num_left_out;
  }
  return sum;
}

TEST(RecordedCalls, OfTheReference) {
  const std::vector<std::pair<std::string, Numbers>> expected = {
      {"c01_sft", {5, 0}},
      {"c01b_sft_accum_lr", {8, 0}},
      {"c02_dmd2_simulate", {17, 0}},
      {"c03_dmd2_data_latent", {8, 0}},
      {"c04_sf_sde", {48, 6}},
      {"c04b_sf_ode", {50, 6}},
      {"c04c_sf_grad", {45, 6}},
      {"c05_dfsft_chunk", {4, 0}},
      {"c05b_dfsft_framewise", {4, 0}},
      {"c06_mg2_sft", {4, 0}},
      {"c06b_mg2_causal_dfsft", {3, 0}},
      {"c06e_mg2_self_forcing", {24, 3}},
      {"c08b_tfsft_chunk", {4, 0}},
      {"c08c_causal_cd", {8, 0}},
      {"c08d_kd", {3, 0}},
      {"c08e_kd_causal", {3, 0}},
      {"c08h_streaming_long", {37, 2}},
  };
  for (const auto& [name, numbers] : expected) {
    const Numbers found = numbers_of(name);
    EXPECT_EQ(found.compared, numbers.compared) << name;
    EXPECT_EQ(found.left_out, numbers.left_out) << name;
  }
}

}  // namespace
}  // namespace zoetrope::test
