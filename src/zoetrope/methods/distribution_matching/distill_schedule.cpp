#include "zoetrope/methods/distribution_matching/distill_schedule.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "zoetrope/config/scalar.h"
#include "zoetrope/config/text_list.h"

namespace zoetrope {
namespace {

constexpr const char* kShortName = "self_forcing";
constexpr const char* kStreamingName = "streaming_long";
constexpr std::array kStreamingNames = {kStreamingName, "long", "streaming"};

template <class Value>
std::optional<Value> first_given(std::initializer_list<std::optional<Value>> candidates) {
  for (const auto& candidate : candidates) {
    if (candidate) return candidate;
  }
  return std::nullopt;
}

bool is_streaming(const DistillStageConfig& entry) {
  if (entry.streaming_training) return *entry.streaming_training;
  return entry.stage && std::find(kStreamingNames.begin(), kStreamingNames.end(), *entry.stage) !=
                            kStreamingNames.end();
}

int64_t num_frames_of(const DistillStageConfig& entry, bool streaming,
                      const DistillStageDefaults& defaults) {
  const auto length = streaming
                          ? first_given<int64_t>({entry.streaming_max_length, entry.num_latent_t,
                                                  entry.max_length, defaults.max_length})
                          : first_given<int64_t>(
                                {entry.num_latent_t, entry.streaming_max_length, entry.max_length});
  return length.value_or(defaults.num_latent_frames);
}

DistillStage resolve_stage(const DistillStageConfig& entry, int64_t previous_end,
                           const DistillStageDefaults& defaults) {
  DistillStage stage;
  stage.streaming = is_streaming(entry);
  stage.name = entry.stage.value_or(stage.streaming ? kStreamingName : kShortName);
  stage.start_step = entry.start_step.value_or(previous_end);
  stage.end_step = entry.end_step;
  stage.num_frames = num_frames_of(entry, stage.streaming, defaults);
  stage.block_size = defaults.block_size;
  stage.chunk_size = first_given<int64_t>({entry.streaming_chunk_size, defaults.chunk_size})
                         .value_or(defaults.block_size);
  stage.overlap = first_given<int64_t>({entry.streaming_fixed_overlap_latents, defaults.overlap});
  stage.least_new_frames =
      first_given<int64_t>({entry.streaming_min_new_frame, defaults.least_new_frames})
          .value_or(stage.chunk_size);
  return stage;
}

/// The lengths that a sequence may have after a window, the whole one left out.
std::vector<bool> reachable_lengths(const DistillStage& stage) {
  std::vector<bool> reachable(static_cast<size_t>(stage.num_frames), false);
  if (!reachable.empty()) reachable[0] = true;
  for (int64_t length = 0; length < stage.num_frames; ++length) {
    if (!reachable[static_cast<size_t>(length)]) continue;
    for (const int64_t num_new : stage.new_frame_choices(length)) {
      const int64_t next = length + num_new;
      if (next < stage.num_frames) reachable[static_cast<size_t>(next)] = true;
    }
  }
  return reachable;
}

/// The first number of new frames that is no whole number of blocks.
std::optional<int64_t> broken_block(const DistillStage& stage) {
  const std::vector<bool> reachable = reachable_lengths(stage);
  for (size_t length = 0; length < reachable.size(); ++length) {
    if (!reachable[length]) continue;
    for (const int64_t num_new : stage.new_frame_choices(static_cast<int64_t>(length))) {
      if (num_new % stage.block_size != 0) return num_new;
    }
  }
  return std::nullopt;
}

void add_window_faults(const DistillStage& stage, size_t index,
                       std::vector<DistillStageFault>& faults) {
  if (stage.chunk_size < 1) {
    faults.push_back({index, fmt::format("streaming_chunk_size must be at least 1, but got {}",
                                         stage.chunk_size)});
  }
  if (stage.overlap && (*stage.overlap < 0 || *stage.overlap >= stage.chunk_size)) {
    faults.push_back({index, fmt::format("streaming_fixed_overlap_latents must be at least 0 and "
                                         "smaller than streaming_chunk_size, which is {}, but got "
                                         "{}",
                                         stage.chunk_size, *stage.overlap)});
  }
}

/// `700:21` or `0:700:21`; nothing when it is neither.
std::optional<DistillStageConfig> parse_stage(const std::string& text) {
  std::vector<std::optional<int64_t>> numbers;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(':', begin), text.size());
    std::string part = text.substr(begin, end - begin);
    std::erase(part, ' ');
    numbers.push_back(config::parse_integer(part));
    begin = end + 1;
  }
  const bool all = std::all_of(numbers.begin(), numbers.end(),
                               [](const auto& number) { return number.has_value(); });
  if (!all || numbers.size() < 2 || numbers.size() > 3) return std::nullopt;
  DistillStageConfig stage;
  if (numbers.size() == 3) stage.start_step = numbers[0];
  stage.end_step = numbers[numbers.size() - 2];
  stage.num_latent_t = numbers.back();
  return stage;
}

bool read_text(const config::Node& node, DistillScheduleConfig& schedule,
               const config::ReadContext& context) {
  const config::Node parts = config::split_text_list(node);
  bool ok = true;
  for (const config::Node& part : parts.items()) {
    auto stage = parse_stage(part.text());
    if (!stage) {
      ok = refuse(node, context,
                  fmt::format("must have stages `end:frames` or `start:end:frames` with commas "
                              "between, but got '{}'",
                              part.text()));
      continue;
    }
    stage->streaming_training = !schedule.entries.empty();
    schedule.entries.push_back(*std::move(stage));
  }
  if (ok && schedule.entries.empty())
    return refuse(node, context,
                  fmt::format("must have at least one stage, but got '{}'", node.text()));
  return ok;
}

}  // namespace

void DistillStageConfig::describe(config::Schema<DistillStageConfig>& schema) {
  using Config = DistillStageConfig;
  schema
      .field("stage", &Config::stage,
             "Name; `streaming_long`, `long` and `streaming` stream unless streaming_training says "
             "otherwise. Also `name`.")
      .aliases = {"name"};
  schema.field("start_step", &Config::start_step, "First step; null: where the stage before ends.",
               config::at_least(0));
  schema.field("end_step", &Config::end_step, "The step after the last; null: none.");
  schema.field("num_latent_t", &Config::num_latent_t,
               "Latent frames of its clips; null: streaming_max_length, max_length, or "
               "training.data.num_latent_t.",
               config::at_least(1));
  schema.field("streaming_training", &Config::streaming_training,
               "Whether clips are tuned window by window; otherwise whole, as in Self-Forcing.");
  schema.field("streaming_chunk_size", &Config::streaming_chunk_size,
               "Latent frames of a window; null: the method's.", config::at_least(1));
  schema.field("streaming_max_length", &Config::streaming_max_length,
               "Latent frames after which a new clip is begun; null: num_latent_t.",
               config::at_least(1));
  schema.field("max_length", &Config::max_length, "The same where neither is given.",
               config::at_least(1));
  schema.field("streaming_min_new_frame", &Config::streaming_min_new_frame,
               "Least number of new frames in a window after the first; null: the method's.",
               config::at_least(1));
  schema.field("streaming_fixed_overlap_latents", &Config::streaming_fixed_overlap_latents,
               "Frames that a window has in common with the one before; null: the method's.",
               config::at_least(0));
}

std::vector<int64_t> DistillStage::new_frame_choices(int64_t length) const {
  const int64_t most = std::min(chunk_size, num_frames - length);
  if (length == 0) return {most};
  if (overlap) return {std::min(chunk_size - *overlap, num_frames - length)};
  if (most <= least_new_frames) return {most};
  std::vector<int64_t> choices;
  for (int64_t choice = least_new_frames; choice < most; choice += block_size)
    choices.push_back(choice);
  return choices;
}

std::vector<DistillStage> resolve_stages(const DistillScheduleConfig& schedule,
                                         const DistillStageDefaults& defaults) {
  if (schedule.entries.empty()) {
    DistillStageConfig endless;
    endless.stage = kStreamingName;
    return {resolve_stage(endless, 0, defaults)};
  }
  std::vector<DistillStage> stages;
  int64_t previous_end = 0;
  for (const DistillStageConfig& entry : schedule.entries) {
    stages.push_back(resolve_stage(entry, previous_end, defaults));
    previous_end = entry.end_step.value_or(previous_end);
  }
  return stages;
}

size_t select_stage(const std::vector<DistillStage>& stages, int64_t step) {
  for (size_t i = 0; i < stages.size(); ++i) {
    if (step >= stages[i].start_step && (!stages[i].end_step || step < *stages[i].end_step))
      return i;
  }
  return stages.size() - 1;
}

std::vector<DistillStageFault> stage_faults(const std::vector<DistillStage>& stages) {
  std::vector<DistillStageFault> faults;
  int64_t previous_end = 0;
  bool open = false;
  for (size_t i = 0; i < stages.size(); ++i) {
    const DistillStage& stage = stages[i];
    if (open) {
      faults.push_back(
          {i, "must come after a stage with an end_step, but the one before has none"});
    } else if (stage.start_step < previous_end) {
      faults.push_back({i, fmt::format("start_step must be at least {}, where the stage before "
                                       "ends, but got {}",
                                       previous_end, stage.start_step)});
    }
    if (stage.end_step && *stage.end_step <= stage.start_step) {
      faults.push_back({i, fmt::format("end_step must be greater than start_step, which is {}, but "
                                       "got {}",
                                       stage.start_step, *stage.end_step)});
    }
    if (stage.streaming) add_window_faults(stage, i, faults);
    open = open || !stage.end_step;
    previous_end = stage.end_step.value_or(previous_end);
  }
  return faults;
}

std::vector<DistillStageFault> stage_length_faults(const std::vector<DistillStage>& stages,
                                                   int64_t num_latent_frames, bool full_blocks) {
  std::vector<DistillStageFault> faults;
  for (size_t i = 0; i < stages.size(); ++i) {
    const DistillStage& stage = stages[i];
    if (stage.num_frames < 1 || stage.num_frames > num_latent_frames) {
      faults.push_back({i, fmt::format("clips must have at least 1 and at most "
                                       "training.data.num_latent_t = {} latent frames, since data "
                                       "and conditions are no longer, but have {}",
                                       num_latent_frames, stage.num_frames)});
      continue;
    }
    if (!full_blocks || !stage.streaming) continue;
    if (const auto num_new = broken_block(stage)) {
      faults.push_back({i, fmt::format("with streaming_require_full_blocks new frames of a window "
                                       "must be a multiple of chunk_size = {}, but can be {}",
                                       stage.block_size, *num_new)});
    }
  }
  return faults;
}

namespace config {

bool Type<DistillScheduleConfig>::read(const Node& node, DistillScheduleConfig& value,
                                       const ReadContext& context) {
  value.entries.clear();
  if (node.is_null() || (node.is_scalar() && node.text().empty())) return true;
  if (node.is_scalar()) return read_text(node, value, context);
  if (!node.is_list()) {
    return refuse(
        node, context,
        fmt::format("must be a list of stages, text, or null, but got {}", node.describe()));
  }
  if (node.items().empty())
    return refuse(node, context, "must have at least one stage, but got an empty list");
  return Type<std::vector<DistillStageConfig>>::read(node, value.entries, context);
}

Node Type<DistillScheduleConfig>::write(const DistillScheduleConfig& value) {
  if (value.entries.empty()) return Node::null();
  return Type<std::vector<DistillStageConfig>>::write(value.entries);
}

}  // namespace config
}  // namespace zoetrope
