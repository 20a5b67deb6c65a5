#include "golden/training/recorded_calls.h"

#include <algorithm>
#include <stdexcept>

namespace zoetrope::test {
namespace {

using nlohmann::json;

constexpr const char* kWholeClip = "predict_noise";
constexpr const char* kStreaming = "predict_noise_streaming";
constexpr const char* kStudent = "student";

RecordedCall call_of(const json& event) {
  const json& keys = event["keys"];
  return {.role = event["role"],
          .is_streaming = event["kind"] == kStreaming,
          .store_kv = event.value("store_kv", false),
          .start_frame = event.value("cur_start_frame", int64_t{0}),
          .noisy = keys["noisy"],
          .timestep = keys["t"],
          .output = keys.value("out", ""),
          .clean = keys.value("clean_x", "")};
}

class CallReader {
 public:
  explicit CallReader(const TensorLookup& tensor) : tensor_(tensor) {}

  RecordedCalls read(const json& events) {
    for (const json& event : events) read_event(event);
    return std::move(read_);
  }

 private:
  void read_event(const json& event) {
    const std::string kind = event["kind"];
    if (kind == "rng" && event["fn"] == "randint") last_integers_ = event["key"];
    if (kind == kWholeClip || kind == kStreaming) add_pass(event);
    if (kind == "_student_rollout") {
      leave_out_unused_steps();
      leave_out_last_stored_block(tensor_(event["key"]).size(1));
      end_rollout();
    }
    if (kind == "loss_map") {
      // A streamed window is a part of a longer clip.
      leave_out_last_stored_block(
          static_cast<int64_t>(event["metrics"].value("streaming_max_length", 0.0)));
      end_rollout();
    }
  }

  void add_pass(const json& event) {
    RecordedCall call = call_of(event);
    (call.is_streaming ? read_.has_streaming : read_.has_whole_clip) = true;
    if (event["conditional"]) {
      if (call.role == kStudent && rollout_begin_ == kNoRollout) begin_rollout();
      read_.calls.push_back(std::move(call));
      return;
    }
    const bool has_conditional = !read_.calls.empty() && read_.calls.back().role == call.role &&
                                 read_.calls.back().noisy == call.noisy &&
                                 read_.calls.back().timestep == call.timestep;
    if (!has_conditional)
      throw std::runtime_error("an unconditional pass of " + call.role + " stands alone");
    read_.calls.back().unconditional_output = call.output;
  }

  void begin_rollout() {
    rollout_begin_ = static_cast<std::ptrdiff_t>(read_.calls.size());
    rollout_integers_ = last_integers_;
  }

  void end_rollout() { rollout_begin_ = kNoRollout; }

  void leave_out_unused_steps() {
    if (rollout_begin_ == kNoRollout || read_.calls.back().is_streaming) return;
    const std::ptrdiff_t last = std::ssize(read_.calls) - 1;
    const std::ptrdiff_t target =
        rollout_begin_ + tensor_(rollout_integers_).flatten()[0].item<int64_t>();
    leave_out(std::min(target, last), last);
  }

  void leave_out_last_stored_block(int64_t num_frames) {
    if (rollout_begin_ == kNoRollout) return;
    std::ptrdiff_t last = std::ssize(read_.calls) - 1;
    while (call_at(last).role != kStudent) --last;
    const RecordedCall& call = call_at(last);
    if (!call.store_kv || call.start_frame + tensor_(call.noisy).size(1) != num_frames) return;
    leave_out(last, last + 1);
  }

  const RecordedCall& call_at(std::ptrdiff_t index) const {
    return read_.calls[static_cast<size_t>(index)];
  }

  void leave_out(std::ptrdiff_t first, std::ptrdiff_t last) {
    read_.num_left_out += last - first;
    read_.calls.erase(read_.calls.begin() + first, read_.calls.begin() + last);
  }

  static constexpr std::ptrdiff_t kNoRollout = -1;

  const TensorLookup& tensor_;
  RecordedCalls read_;
  std::string last_integers_;  ///< drawn last
  std::ptrdiff_t rollout_begin_ = kNoRollout;
  std::string rollout_integers_;  ///< drawn before the rollout: the step that it ends at
};

}  // namespace

int64_t RecordedCalls::num_passes() const {
  int64_t sum = 0;
  for (const RecordedCall& call : calls) sum += call.num_passes();
  return sum;
}

RecordedCalls recorded_calls(const json& step, const TensorLookup& tensor) {
  return CallReader(tensor).read(step["events"]);
}

RecordedCalls recorded_calls(const json& step, const GoldenCase& golden) {
  return recorded_calls(step, [&](const std::string& key) { return golden.tensor(key); });
}

}  // namespace zoetrope::test
