#include "zoetrope/callbacks/distillation_health/distillation_health.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/callbacks/distillation_health/health_signs.h"

namespace zoetrope {
namespace {

constexpr const char* kGeneratedClips = "generated_clips";
constexpr const char* kReferenceClips = "reference_clips";
constexpr const char* kLastReference = "last_reference";
constexpr const char* kNumComplaints = "num_complaints";

/// Undefined when there is none of that name.
at::Tensor find(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [candidate, tensor] : tensors) {
    if (candidate == name) return tensor;
  }
  return {};
}

void add_loss(RunningMeans& means, const RunState& run, const char* name) {
  const at::Tensor loss = find(run.losses, name);
  if (loss.defined()) means.add(name, loss.view(1));
}

void add_distance(RunningMeans& means, const char* name, const RecentLatents& clips) {
  const at::Tensor distance = clips.mean_distance();
  if (distance.defined()) means.add(name, distance);
}

/// Means over the ranks, which all gathered the same names: one decision for the run.
RunningMeans::Values mean_over_ranks(RunningMeans::Values values, Group& group) {
  std::vector<double> own;
  for (const auto& [name, numbers] : values) own.insert(own.end(), numbers.begin(), numbers.end());
  const std::vector<std::vector<double>> of_ranks = group.all_gather_numbers(own);
  size_t next = 0;
  for (auto& [name, numbers] : values) {
    for (double& number : numbers) {
      number = 0.0;
      for (const std::vector<double>& of_rank : of_ranks) number += of_rank[next];
      number /= static_cast<double>(of_ranks.size());
      ++next;
    }
  }
  return values;
}

}  // namespace

void DistillationHealthConfig::describe(config::Schema<DistillationHealthConfig>& schema) {
  using Config = DistillationHealthConfig;
  schema.field("every_steps", &Config::every_steps,
               "Steps between checks, each of which is logged; 0 or less: off.");
  schema.field("on_alarm", &Config::on_alarm,
               "What an alarm does: a warning and `health/alarm` = 1 (`log`), or also the end of "
               "the run (`stop`).",
               config::one_of({"log", "stop"}));
  schema.field("collapse_ratio", &Config::collapse_ratio,
               "Share of the reference's motion, contrast and diversity below which the student's "
               "have collapsed.",
               config::between(0, 1));
  schema.field("num_checks", &Config::num_checks, "Bad checks in a row that raise the alarm.",
               config::at_least(1));
  schema.field("warmup_steps", &Config::warmup_steps,
               "First steps, in which a student that was never better raises no alarm.",
               config::at_least(0));
  schema.field("log_channels", &Config::log_channels,
               "Also log mean and spread of every latent channel.");
}

DistillationHealth::DistillationHealth(const DistillationHealthConfig& config,
                                       const CallbackContext& context)
    : config_(config),
      ranks_(context.mesh->world),
      detector_({config.collapse_ratio, config.num_checks, config.warmup_steps}) {}

void DistillationHealth::on_before_optimizer_step(RunState& /*run*/,
                                                  std::vector<OptimizerUpdate>& updates) {
  if (config_.every_steps <= 0) return;
  for (const OptimizerUpdate& update : updates) {
    const std::string& role = update.optimizer->role();
    // One update of each role between two checks.
    if (!means_.contains(health::kUpdate + role))
      probes_.emplace(role, update.optimizer->model().parameters());
  }
}

void DistillationHealth::on_training_step_end(RunState& run) {
  if (config_.every_steps <= 0) return;
  gather(run);
  // The first step's clips come from the student as it started: what it must not fall far behind.
  if (run.step == 1 || run.step % config_.every_steps == 0) check(run);
}

void DistillationHealth::gather(const RunState& run) {
  at::NoGradGuard no_grad;
  for (const auto& [role, probe] : probes_) means_.add(health::kUpdate + role, probe.measure());
  probes_.clear();
  // The critic's clips come at every step, the student's where it is updated.
  const at::Tensor student_clips = find(run.tensors, "generated_latents");
  const at::Tensor critic_clips = find(run.tensors, "critic_latents");
  const at::Tensor generated = critic_clips.defined() ? critic_clips : student_clips;
  if (generated.defined()) {
    means_.add(health::kGenerated, latent_statistics(generated));
    generated_.add(generated);
  }
  const at::Tensor reference = find(run.tensors, "reference_latents");
  if (reference.defined()) {
    means_.add(health::kReference, latent_statistics(reference));
    reference_.add(reference);
  }
  const at::Tensor resampled = find(run.tensors, "resampled_latents");
  if (student_clips.defined() && resampled.defined())
    means_.add(health::kNoiseDiversity, clip_distance(student_clips, resampled));
  const at::Tensor gradient = find(run.tensors, "dmd_gradient");
  if (gradient.defined()) {
    const at::Tensor norms_B = gradient.to(at::kFloat).flatten(1).norm(2, 1);
    means_.add(health::kGradientNorm, norms_B.mean().view(1));
    add_loss(means_, run, health::kGeneratorLoss);
  }
  add_loss(means_, run, health::kCriticLoss);
}

void DistillationHealth::check(RunState& run) {
  add_distance(means_, health::kDiversity, generated_);
  add_distance(means_, health::kReferenceDiversity, reference_);
  RunningMeans::Values means = mean_over_ranks(means_.read(), *ranks_);
  run.tracker.log(run.step, health_metrics(means, config_.log_channels));
  // A teacher's reference comes with the student's updates, which may be rarer than checks.
  if (const auto found = means.find(health::kReference); found != means.end())
    last_reference_ = found->second;
  else if (!last_reference_.empty())
    means.emplace(health::kReference, last_reference_);
  report(run, detector_.check(run.step, health_signs(means, config_.collapse_ratio)));
}

void DistillationHealth::report(RunState& run, const std::vector<std::string>& complaints) {
  const auto num_complaints = static_cast<int64_t>(complaints.size());
  run.tracker.log(run.step, {{"health/alarm", complaints.empty() ? 0.0 : 1.0}});
  if (!complaints.empty() && config_.on_alarm == "stop") {
    fail<TrainingError>(
        "step {}: the student must not collapse, but {}; go on from an earlier checkpoint with a "
        "lower learning rate or more critic updates (method.generator_update_interval), or look "
        "at its videos with callbacks.distillation_health.on_alarm: log",
        run.step, fmt::join(complaints, "; "));
  }
  if (num_complaints > num_complaints_) {
    log_info("warning: step {}: the student seems to collapse: {}", run.step,
             fmt::join(complaints, "; "));
  } else if (complaints.empty() && num_complaints_ > 0) {
    log_info("step {}: the student is healthy again", run.step);
  }
  num_complaints_ = num_complaints;
}

StateDict DistillationHealth::state_dict() const {
  StateDict state = means_.state();
  if (generated_.rows().defined()) state.tensors.emplace_back(kGeneratedClips, generated_.rows());
  if (reference_.rows().defined()) state.tensors.emplace_back(kReferenceClips, reference_.rows());
  if (!last_reference_.empty())
    state.tensors.emplace_back(kLastReference, at::tensor(last_reference_, at::kDouble));
  for (auto& entry : detector_.state()) state.scalars.push_back(std::move(entry));
  state.scalars.emplace_back(kNumComplaints, num_complaints_);
  return state;
}

void DistillationHealth::load_state_dict(const StateDict& state, RunState& /*run*/) {
  means_.restore(state);
  detector_.restore(state.scalars);
  for (const auto& [name, tensor] : state.tensors) {
    if (name == kGeneratedClips) generated_.restore(tensor);
    if (name == kReferenceClips) reference_.restore(tensor);
    if (name == kLastReference) {
      const auto* first = tensor.const_data_ptr<double>();
      last_reference_.assign(first, first + tensor.numel());
    }
  }
  for (const auto& [name, value] : state.scalars) {
    if (name == kNumComplaints) num_complaints_ = std::get<int64_t>(value);
  }
}

}  // namespace zoetrope
