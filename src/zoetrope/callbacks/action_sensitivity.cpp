#include "zoetrope/callbacks/action_sensitivity.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/callbacks/use_average.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/data/loader.h"
#include "zoetrope/models/causal_model.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"
#include "zoetrope/pipelines/causal_pipeline.h"
#include "zoetrope/tensor/random_source.h"

namespace zoetrope {
namespace {

constexpr double kCollapseRatio = 0.2;  // of the best value so far, during the warm-up

/// Gives each clip the actions of the one before it; the first, those of the last.
at::Tensor of_the_clip_before(const at::Tensor& actions_BFK) {
  return actions_BFK.defined() ? actions_BFK.roll(1, 0) : actions_BFK;
}

at::Tensor rows_differ(const at::Tensor& a_BFK, const at::Tensor& b_BFK) {
  return (a_BFK != b_BFK).flatten(1).any(1);
}

/// Root mean square difference of each clip, fp32 [B].
at::Tensor distances(const at::Tensor& a_BCTHW, const at::Tensor& b_BCTHW) {
  return (a_BCTHW - b_BCTHW).flatten(1).square().mean(1).sqrt();
}

SamplingOptions sampling_options(const ActionSensitivityConfig& config,
                                 const CallbackContext& context, TrainingMethod& method) {
  SamplingOptions sampling;
  sampling.sampler = SamplerKind::kFlowMatchEuler;
  sampling.num_steps = config.sampling_steps;
  sampling.guidance_scale = 1.0;
  sampling.flow_shift = context.flow_shift;
  sampling.few_step = method.few_step_rollout();
  return sampling;
}

}  // namespace

void ActionSensitivityConfig::describe(config::Schema<ActionSensitivityConfig>& schema) {
  using Config = ActionSensitivityConfig;
  schema.field("every_steps", &Config::every_steps, "Steps between checks; 0 or less: off.");
  schema.field("num_clips", &Config::num_clips,
               "Clips that are sampled, the first of the training data's order; each is also given "
               "the actions of another.",
               config::at_least(2));
  schema.field("sampling_steps", &Config::sampling_steps,
               "Euler steps, where the method has no steps of its own.", config::at_least(1));
  schema.field("min_sensitivity", &Config::min_sensitivity,
               "Least distance between videos of different actions, as a share of that between "
               "videos of different noise.",
               config::at_least(0));
  schema.field("num_checks", &Config::num_checks, "Bad checks in a row that raise the alarm.",
               config::at_least(1));
  schema.field("warmup_steps", &Config::warmup_steps,
               "First steps, in which a student that never obeyed raises no alarm.",
               config::at_least(0));
  schema.field("on_alarm", &Config::on_alarm,
               "What an alarm does: a warning and `validation/action_alarm` = 1 (`log`), or also "
               "the end of the run (`stop`).",
               config::one_of({"log", "stop"}));
}

ActionSensitivity::ActionSensitivity(const ActionSensitivityConfig& config,
                                     const CallbackContext& context)
    : config_(config),
      context_(context),
      detector_({kCollapseRatio, config.num_checks, config.warmup_steps}) {}

ActionSensitivity::Clips ActionSensitivity::read_clips(ModelBase& student) const {
  const ParquetDataset dataset(context_.data.data_path.sources,
                               parquet_schema(student.data_type()));
  SampleOrderOptions order;
  order.seed = context_.data.seed;
  order.batch_size = config_.num_clips;
  LoaderOptions loading;
  loading.num_latent_frames = context_.data.num_latent_t;
  const Batch raw = DataLoader(dataset, order, loading).next();
  const TrainingBatch batch = student.prepare_batch(raw, LatentsSource::kZeros);
  Clips clips;
  clips.own = batch.conditional;
  clips.other = batch.conditional;
  clips.other.keyboard_BFK = of_the_clip_before(clips.own.keyboard_BFK);
  clips.other.mouse_BF2 = of_the_clip_before(clips.own.mouse_BF2);
  for (const auto member : {&Conditioning::keyboard_BFK, &Conditioning::mouse_BF2}) {
    if (!(clips.own.*member).defined()) continue;
    const at::Tensor differs_B = rows_differ(clips.own.*member, clips.other.*member);
    clips.differs_B = clips.differs_B.defined() ? clips.differs_B.logical_or(differs_B) : differs_B;
  }
  if (!clips.differs_B.defined()) {
    fail<ConfigError>(
        "callbacks.action_sensitivity: must be used with a model that has actions, but the student "
        "has neither keyboard nor mouse");
  }
  if (!clips.differs_B.any().item<bool>()) {
    fail<DataError>(
        "callbacks.action_sensitivity.num_clips: the clips must have different actions, but the "
        "first {} all have the same; raise num_clips",
        config_.num_clips);
  }
  const auto sizes = batch.latents_BTCHW.sizes();
  clips.shape_BCTHW = {sizes[0], sizes[2], sizes[1], sizes[3], sizes[4]};
  return clips;
}

at::Tensor ActionSensitivity::sample(ModelBase& student, const Conditioning& conditions,
                                     const SamplingOptions& sampling,
                                     const std::string& noise_name) const {
  KeyedRandomSource random(context_.data.seed);
  const NamedNoise noise = [&](const std::string& name, at::IntArrayRef shape) {
    return random.normal({fmt::format("action_sensitivity.{}.{}", noise_name, name), {}}, shape)
        .to(context_.device);
  };
  if (auto* causal = dynamic_cast<CausalModelBase*>(&student)) {
    std::vector<at::Tensor> blocks;
    stream_latents(causal->streaming_network(clips_->shape_BCTHW[2]), {conditions, {}},
                   {clips_->shape_BCTHW, sampling}, noise,
                   [&](const FrameBlock& /*block*/, const at::Tensor& latents_BCTHW) {
                     blocks.push_back(latents_BCTHW);
                   });
    return at::cat(blocks, 2);
  }
  const auto fresh_noise = [&](int64_t step) {
    return noise(fmt::format("step{}", step), clips_->shape_BCTHW);
  };
  return sample_latents(student.denoising_network(), noise("start", clips_->shape_BCTHW),
                        {conditions, {}}, sampling, {}, fresh_noise);
}

void ActionSensitivity::on_validation_begin(RunState& run) {
  if (config_.every_steps <= 0 || run.step == 0 || run.step % config_.every_steps != 0) return;
  const at::NoGradGuard no_grad;
  const UseAverage use_average(run.average);
  ModelBase& student = run.method.student();
  if (!clips_) clips_ = read_clips(student);
  const SamplingOptions sampling = sampling_options(config_, context_, run.method);
  const at::Tensor own = sample(student, clips_->own, sampling, "noise");
  const at::Tensor other_actions = sample(student, clips_->other, sampling, "noise");
  const at::Tensor other_noise = sample(student, clips_->own, sampling, "other_noise");
  // Clips whose two sequences of actions are the same say nothing.
  const at::Tensor actions_B = distances(own, other_actions).masked_select(clips_->differs_B);
  const at::Tensor on_host =
      at::stack({actions_B.mean(), distances(own, other_noise).mean()}).to(at::kCPU, at::kDouble);
  const auto action_distance = on_host[0].item<double>();
  const auto noise_distance = on_host[1].item<double>();
  // Videos that noise does not change either: no share, but something if actions do.
  const double sensitivity =
      noise_distance > 0.0 ? action_distance / noise_distance : (action_distance > 0.0 ? 1.0 : 0.0);
  const std::vector<std::string> complaints =
      detector_.check(run.step, {{"action_sensitivity", "the actions hardly change the videos",
                                  sensitivity, config_.min_sensitivity}});
  run.tracker.log(run.step, {{"validation/action_distance", action_distance},
                             {"validation/noise_distance", noise_distance},
                             {"validation/action_sensitivity", sensitivity},
                             {"validation/action_alarm", complaints.empty() ? 0.0 : 1.0}});
  if (!complaints.empty()) report(run, complaints);
}

void ActionSensitivity::report(RunState& run, const std::vector<std::string>& complaints) const {
  if (config_.on_alarm == "stop") {
    fail<TrainingError>(
        "step {}: actions must have an effect, but {}; check that the data's actions fit its "
        "videos, or look on with callbacks.action_sensitivity.on_alarm: log",
        run.step, fmt::join(complaints, "; "));
  }
  log_info("warning: step {}: {}", run.step, fmt::join(complaints, "; "));
}

StateDict ActionSensitivity::state_dict() const {
  return {.tensors = {}, .scalars = detector_.state()};
}

void ActionSensitivity::load_state_dict(const StateDict& state, RunState& /*run*/) {
  detector_.restore(state.scalars);
}

}  // namespace zoetrope
