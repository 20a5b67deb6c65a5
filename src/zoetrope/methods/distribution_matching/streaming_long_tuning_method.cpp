#include "zoetrope/methods/distribution_matching/streaming_long_tuning_method.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/diffusion/timestep_sampling.h"

namespace zoetrope {
namespace {

constexpr const char* kPurpose = "streaming_long";
constexpr const char* kSequenceState = "sequence.";
constexpr const char* kCacheState = "cache.";

void throw_first(const std::vector<DistillStageFault>& faults) {
  if (faults.empty()) return;
  fail<ConfigError>("method.multi_phased_distill_schedule[{}]: {}", faults.front().stage,
                    faults.front().message);
}

/// Pieces of `block_size` frames from frame `first` of a clip; what is left over comes last, since
/// the frames before are there already.
std::vector<FrameBlock> blocks_from(int64_t first, int64_t num_frames, int64_t block_size) {
  std::vector<FrameBlock> blocks;
  for (int64_t done = 0; done < num_frames; done += block_size) {
    blocks.push_back({static_cast<int64_t>(blocks.size()), first + done,
                      std::min(block_size, num_frames - done)});
  }
  return blocks;
}

}  // namespace

StreamingLongTuningMethod::StreamingLongTuningMethod(const StreamingLongTuningConfig& config,
                                                     MethodContext method_context)
    : SelfForcingMethod(config.self_forcing(), std::move(method_context)),
      config_(config),
      stages_(config.stages(context().num_latent_frames)) {
  throw_first(stage_faults(stages_));
  throw_first(stage_length_faults(stages_, context().num_latent_frames,
                                  config.streaming_require_full_blocks));
}

config::MethodWork StreamingLongTuningMethod::work(const StreamingLongTuningConfig& config,
                                                   int64_t num_latent_frames) {
  const DistillStage stage = config.stages(num_latent_frames).back();
  if (!stage.streaming) return SelfForcingMethod::work(config.self_forcing(), stage.num_frames);
  const int64_t window = std::min(stage.chunk_size, stage.num_frames);
  // Both losses share one rollout, which has a graph where the student is updated.
  return work_with(config.self_forcing(),
                   rollout_passes(config, window, window, /*with_grad=*/true), {});
}

void StreamingLongTuningMethod::on_train_start() {
  SelfForcingMethod::on_train_start();
  const bool streams = std::any_of(stages_.begin(), stages_.end(),
                                   [](const DistillStage& stage) { return stage.streaming; });
  if (!streams || !config_.streaming_reencode_overlap_anchor) return;
  anchor_.emplace(student().pipeline_folder() / "vae", schedule().device(),
                  config_.streaming_anchor_inject_k);
}

TrainingBatch StreamingLongTuningMethod::prepare_clips(const Batch& raw, int64_t num_frames) {
  return frames_of(student().prepare_batch(raw, LatentsSource::kZeros), 0, num_frames);
}

StepOutput StreamingLongTuningMethod::single_train_step(const Batch& raw, const StepIndex& index) {
  const size_t stage_index = select_stage(stages_, index.step);
  const DistillStage& selected = stages_[stage_index];
  StepOutput output;
  if (selected.streaming) {
    continue_sequence(raw, static_cast<int64_t>(stage_index));
    output = train_on_window(index);
  } else {
    sequence_.reset();
    output = train_on(prepare_clips(raw, selected.num_frames), index);
    output.metrics.emplace_back("active_num_latent_t", static_cast<double>(selected.num_frames));
  }
  output.metrics.emplace_back("distill_stage_index", static_cast<double>(stage_index));
  return output;
}

StepOutput StreamingLongTuningMethod::train_on_window(const StepIndex& index) {
  const bool update = updates_student(index.step);
  const Window window = generate_window(index, update);
  const GeneratedClips clips{window.batch, window.latents_BTCHW, window.purpose, window.mask_BT111};
  StepOutput output;
  if (update) add_generator_loss(clips, output);
  add_critic_loss(clips, output);
  add_totals(window.batch, update, output);
  output.tensors.emplace_back("streaming_chunk_mask", window.mask_BT111);
  output.metrics.emplace_back("streaming_current_length", static_cast<double>(sequence_->length));
  output.metrics.emplace_back("streaming_max_length", static_cast<double>(stage().num_frames));
  return output;
}

void StreamingLongTuningMethod::continue_sequence(const Batch& raw, int64_t stage) {
  if (sequence_ && sequence_->stage == stage && !sequence_->is_complete()) return;
  causal_student().clear_caches(kCacheTag);
  const int64_t num_frames = stages_[static_cast<size_t>(stage)].num_frames;
  sequence_ = StreamingSequence{.stage = stage, .batch = prepare_clips(raw, num_frames)};
}

int64_t StreamingLongTuningMethod::draw_num_new_frames(const StepIndex& index) const {
  const std::vector<int64_t> choices = stage().new_frame_choices(sequence_->length);
  if (choices.size() == 1) return choices.front();
  // The same on every rank, so that all of them call the networks equally often.
  const auto drawn =
      context()
          .random
          ->integers({fmt::format("{}.num_new_frames", kPurpose), {}, index.decision()}, 0,
                     static_cast<int64_t>(choices.size()), {1})
          .item<int64_t>();
  return choices[static_cast<size_t>(drawn)];
}

at::Tensor StreamingLongTuningMethod::generate_frames(const std::string& purpose, int64_t num_new,
                                                      const StepIndex& index, bool with_grad) {
  const TrainingBatch& clips = sequence_->batch;
  const int64_t first = sequence_->length;
  const at::Tensor noise = draw_noise(frames_of(clips, first, num_new), purpose + ".noise");
  const std::vector<FrameBlock> blocks = blocks_from(first, num_new, config_.chunk_size);
  const std::vector<int64_t> exit_steps = draw_exit_steps(kPurpose, index, blocks.size());
  std::vector<at::Tensor> generated;
  for (const FrameBlock& block : blocks) {
    const std::string block_purpose = fmt::format("{}.block{}", purpose, block.index);
    generated.push_back(
        denoise_block(clips, block, noise.narrow(1, block.first - first, block.size), block_purpose,
                      exit_steps[static_cast<size_t>(block.index)], with_grad));
    store_noised_context(clips, block, generated.back().detach(), block_purpose);
  }
  return at::cat(generated, 1);
}

StreamingLongTuningMethod::Window StreamingLongTuningMethod::generate_window(const StepIndex& index,
                                                                             bool with_grad) {
  const int64_t num_new = draw_num_new_frames(index);
  const int64_t length = sequence_->length;
  const at::Tensor& previous = sequence_->previous_BTCHW;
  const int64_t num_overlap =
      previous.defined() ? std::min(stage().chunk_size - num_new, previous.size(1)) : 0;
  Window window;
  // A sample has one clip at a time, in which the first new frame names the window.
  window.purpose = fmt::format("{}.frame{}", kPurpose, length);
  window.latents_BTCHW = generate_frames(window.purpose, num_new, index, with_grad);
  window.batch = frames_of(sequence_->batch, length - num_overlap, num_overlap + num_new);
  window.mask_BT111 = at::ones({window.batch.batch_size(), num_overlap + num_new, 1, 1, 1},
                               window.latents_BTCHW.options().dtype(at::kBool));
  if (num_overlap > 0) {
    window.mask_BT111.narrow(1, 0, num_overlap).fill_(false);
    const at::Tensor overlap =
        anchor_ ? anchor_->reencode(previous, num_overlap)
                : previous.narrow(1, previous.size(1) - num_overlap, num_overlap);
    window.latents_BTCHW = at::cat({overlap, window.latents_BTCHW}, 1);
  }
  sequence_->length = length + num_new;
  sequence_->previous_BTCHW = window.latents_BTCHW.detach();
  return window;
}

at::Tensor StreamingLongTuningMethod::draw_score_timesteps(const TrainingBatch& batch,
                                                           const std::string& purpose) {
  const double last = static_cast<double>(kNumTrainTimesteps);
  const at::Tensor drawn_B =
      context()
          .random
          ->integers({purpose, batch.sample_indices}, 0, kNumTrainTimesteps, {batch.batch_size()})
          .to(batch.latents_BTCHW.device(), /*non_blocking=*/true);
  return shift_and_clamp_timesteps(drawn_B, context().flow_shift,
                                   std::nearbyint(config_.min_timestep_ratio * last),
                                   std::nearbyint(config_.max_timestep_ratio * last));
}

at::Tensor StreamingLongTuningMethod::score_scale(const at::Tensor& distance_BTCHW) const {
  constexpr double kLeastDistance = 1e-6;
  return distance_BTCHW.mean({1, 2, 3, 4}, /*keepdim=*/true).clamp_min(kLeastDistance);
}

StateDict StreamingLongTuningMethod::state_dict() const {
  StateDict state;
  if (!sequence_ || sequence_->is_complete()) return state;
  state.add(kSequenceState, sequence_state(*sequence_));
  state.add(kCacheState, causal_student().cache_state(kCacheTag));
  return state;
}

void StreamingLongTuningMethod::load_state_dict(const StateDict& state) {
  StreamingSequence sequence = restore_sequence(state.part(kSequenceState), schedule().device());
  const auto num_stages = static_cast<int64_t>(stages_.size());
  const int64_t num_frames = sequence.batch.latents_BTCHW.size(1);
  const bool fits = sequence.stage < num_stages &&
                    stages_[static_cast<size_t>(sequence.stage)].num_frames == num_frames;
  if (!fits) {
    log_info("resume: the running clips belong to another schedule; new ones are begun");
    return;
  }
  causal_student().load_cache_state(kCacheTag, state.part(kCacheState), sequence.batch.conditional);
  sequence_ = std::move(sequence);
}

}  // namespace zoetrope
