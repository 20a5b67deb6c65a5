#include "zoetrope/methods/knowledge_distillation/knowledge_distillation_method.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/folder_lock.h"
#include "zoetrope/checkpoint/weights_checksum.h"
#include "zoetrope/diffusion/prediction_conversion.h"
#include "zoetrope/diffusion/timestep_list.h"
#include "zoetrope/methods/knowledge_distillation/shared_trajectories.h"
#include "zoetrope/methods/knowledge_distillation/teacher_sampler.h"
#include "zoetrope/methods/requirements.h"

namespace zoetrope {
namespace {

constexpr const char* kMethod = "knowledge distillation";
constexpr const char* kTeacher = "teacher";

void check_steps(const KnowledgeDistillationConfig& method, const config::Node& node,
                 const config::ReadContext& context) {
  const std::vector<int64_t>& steps = method.t_list;
  if (steps.size() < 2 || !are_descending_timesteps(steps, 0) || steps.back() != 0) {
    refuse(node, {context.issues, config::child_path(context.path, "t_list")},
           fmt::format("must be a list of descending timesteps of at most {} that ends with 0, but "
                       "got [{}]",
                       kNumTrainTimesteps, fmt::join(steps, ", ")));
    return;
  }
  const auto num_steps = static_cast<int64_t>(steps.size()) - 1;
  if (method.student_sample_steps.value_or(num_steps) != num_steps) {
    refuse(node, {context.issues, config::child_path(context.path, "student_sample_steps")},
           fmt::format("must be one less than the entries of t_list, which is {}, but got {}",
                       num_steps, *method.student_sample_steps));
  }
}

/// The place of each of the student's steps among the teacher's.
std::vector<int64_t> entries_of(const std::vector<int64_t>& t_list,
                                const std::vector<int64_t>& teacher_timesteps) {
  std::vector<int64_t> entries;
  for (size_t i = 0; i + 1 < t_list.size(); ++i) {
    const auto found = std::ranges::find(teacher_timesteps, t_list[i]);
    if (found == teacher_timesteps.end()) {
      fail<ConfigError>(
          "method.t_list: every step but the last must be one of the teacher's timesteps, but {} "
          "is "
          "not; they are {}",
          t_list[i], fmt::join(teacher_timesteps, ", "));
    }
    entries.push_back(found - teacher_timesteps.begin());
  }
  return entries;
}

std::string join_paths(const std::vector<DataSource>& sources) {
  std::vector<std::string> paths;
  paths.reserve(sources.size());
  for (const DataSource& source : sources) paths.push_back(source.path);
  return fmt::format("{}", fmt::join(paths, ","));
}

/// `raw` with the texts that the trajectories were conditioned on.
Batch with_texts_of(const std::vector<Trajectory>& trajectories, Batch raw) {
  std::vector<at::Tensor> texts;
  std::vector<at::Tensor> masks;
  for (const Trajectory& trajectory : trajectories) {
    texts.push_back(trajectory.text_embedding_LD);
    masks.push_back(trajectory.text_attention_mask_L);
  }
  raw.text_embedding_BLD = at::stack(texts);
  raw.text_attention_mask_BL = at::stack(masks);
  return raw;
}

}  // namespace

void KnowledgeDistillationConfig::describe(config::Schema<KnowledgeDistillationConfig>& schema) {
  schema.required("t_list", &KnowledgeDistillationConfig::t_list,
                  "Timesteps at which the student denoises, descending, and 0. Each must be one of "
                  "the teacher's.");
  schema.field("student_sample_steps", &KnowledgeDistillationConfig::student_sample_steps,
               "Steps of the student: one less than the entries of t_list.");
  schema.required("teacher_path_cache", &KnowledgeDistillationConfig::teacher_path_cache,
                  "Folder of the teacher's trajectories. What is missing is made before the "
                  "training, which needs the role teacher. The student is trained with the "
                  "trajectories' text: training_cfg_rate has no effect.",
                  config::not_empty());
  schema.field("teacher_guidance_scale", &KnowledgeDistillationConfig::teacher_guidance_scale,
               "Guidance of the teacher: unconditional + scale (conditional - unconditional).");
  schema.field("teacher_inference_steps", &KnowledgeDistillationConfig::teacher_inference_steps,
               "Steps of the teacher's trajectories.", config::at_least(1));
  schema.check(check_steps);
}

KnowledgeDistillationMethod::KnowledgeDistillationMethod(const KnowledgeDistillationConfig& config,
                                                         MethodContext method_context)
    : TrainingMethod(std::move(method_context)),
      config_(config),
      teacher_(roles().contains(kTeacher) ? &roles().require(kTeacher, false, kMethod) : nullptr),
      optimizer_("student", student(), context().optimizer, context().max_train_steps),
      schedule_(
          make_self_forcing_schedule(context().flow_shift, student().noise_schedule().device())),
      teacher_timesteps_(teacher_timesteps(context().flow_shift, config.teacher_inference_steps)),
      entries_(entries_of(config.t_list, teacher_timesteps_)),
      timesteps_K_(at::tensor(config.t_list, at::kLong).to(schedule_.device(), at::kFloat)) {
  require_positive_learning_rate(context().optimizer, kMethod);
}

// The first rank compares the weights: whole ones are large, and all ranks have the same.
TrajectoryRecipe KnowledgeDistillationMethod::recipe(const RowReader& rows,
                                                     const Mesh& mesh) const {
  const bool is_first = mesh.rank == 0;
  TrajectoryRecipe recipe;
  if (teacher_ != nullptr) {
    recipe.teacher = teacher_->source();
    const NamedTensors weights = teacher_->parameters().tensors(is_first);
    if (is_first) recipe.teacher_weights = weights_checksum(weights);
  }
  recipe.num_steps = config_.teacher_inference_steps;
  recipe.guidance_scale = config_.teacher_guidance_scale;
  recipe.flow_shift = context().flow_shift;
  recipe.num_latent_frames = context().num_latent_frames;
  recipe.data_path = join_paths(rows.dataset().sources());
  recipe.num_rows = rows.num_rows();
  return recipe;
}

LatentsSource KnowledgeDistillationMethod::latents_source() {
  return student().data_type() == "text_only" ? LatentsSource::kZeros : LatentsSource::kData;
}

void KnowledgeDistillationMethod::prepare_data(const RowReader& rows, const Mesh& mesh) {
  const TrajectoryRecipe wanted = recipe(rows, mesh);
  std::optional<FolderLock> lock;
  std::vector<int64_t> missing;
  if (mesh.rank == 0) {
    cache_.emplace(config_.teacher_path_cache, wanted);
    if (!cache_->complete()) {
      lock.emplace(cache_->folder());
      missing = cache_->missing_rows(0, cache_->num_rows());
      require_teacher(missing);
    }
    check_texts(rows, missing);
    if (lock) cache_->begin_writing();
  }
  missing = from_first_rank(std::move(missing), *mesh.world);
  if (!cache_) cache_.emplace(config_.teacher_path_cache, wanted);
  if (!make_missing(missing, rows, mesh)) return;
  if (lock) cache_->mark_complete();
  mesh.world->barrier();
  if (mesh.rank != 0 && !cache_->complete()) {
    fail<DataError>(
        "method.teacher_path_cache: '{}' must be a folder that all ranks share, but rank {} does "
        "not see what the first one has written",
        config_.teacher_path_cache, mesh.rank);
  }
  teacher_ = nullptr;
  remove_role(kTeacher);
}

void KnowledgeDistillationMethod::require_teacher(const std::vector<int64_t>& missing) const {
  if (teacher_ != nullptr) return;
  fail<ConfigError>(
      "method.teacher_path_cache: '{}' must hold {} trajectories and its file COMPLETE, or the "
      "config must have a teacher that makes them; {} are missing; add models.teacher",
      config_.teacher_path_cache, cache_->num_rows(), missing.size());
}

bool KnowledgeDistillationMethod::make_missing(const std::vector<int64_t>& missing,
                                               const RowReader& rows, const Mesh& mesh) {
  if (missing.empty()) return true;
  if (config_.teacher_guidance_scale != 1.0) student().encode_negative_prompt();
  TeacherSampler sampler(*teacher_, schedule_,
                         {teacher_timesteps_, config_.teacher_guidance_scale});
  return make_trajectories(*cache_, missing, mesh, [&](int64_t row) {
    const Batch raw = rows.read({row});
    const TrainingBatch batch = student().prepare_batch(raw, latents_source());
    const at::Tensor noise =
        context()
            .random->normal({"knowledge_distillation.noise", {row}}, batch.latents_BTCHW.sizes())
            .to(batch.latents_BTCHW.device(), /*non_blocking=*/true);
    Trajectory trajectory = sampler.sample(batch, noise);
    trajectory.text_embedding_LD = raw.text_embedding_BLD[0];
    trajectory.text_attention_mask_L = raw.text_attention_mask_BL[0];
    return trajectory;
  });
}

// The first, the middle and the last row that is there: enough to know another data set by before
// anything is made of it. Training compares every row.
void KnowledgeDistillationMethod::check_texts(const RowReader& rows,
                                              const std::vector<int64_t>& missing) const {
  std::vector<int64_t> present;
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    if (!std::ranges::binary_search(missing, row)) present.push_back(row);
  }
  if (present.empty()) return;
  for (const int64_t row : {present.front(), present[present.size() / 2], present.back()}) {
    const Batch raw = rows.read({row});
    check_text(cache_->read(row), raw.text_embedding_BLD[0], raw.info[0]);
  }
}

// Text that FastVideo dropped is stored as zeros; the loader's dropout gives zeros, too.
void KnowledgeDistillationMethod::check_text(const Trajectory& trajectory,
                                             const at::Tensor& text_LD,
                                             const SampleInfo& info) const {
  const at::Tensor stored = trajectory.text_embedding_LD.to(at::kFloat);
  const auto is_dropped = [](const at::Tensor& text) {
    return at::count_nonzero(text).item<int64_t>() == 0;
  };
  if (at::equal(stored, text_LD) || is_dropped(stored) || is_dropped(text_LD)) return;
  fail<DataError>(
      "method.teacher_path_cache: '{}' must have been made from this run's data, but the text of "
      "row {} is another one than that of {}; name another folder, or delete this one to have it "
      "made anew",
      config_.teacher_path_cache, info.dataset_row, info.describe());
}

at::Tensor KnowledgeDistillationMethod::draw_steps(const Batch& raw, int64_t /*num_frames*/) {
  return context()
      .random
      ->integers({"knowledge_distillation.step", {raw.sample_indices.front()}}, 0,
                 num_student_steps(), {1})
      .expand({raw.batch_size()});
}

std::vector<Trajectory> KnowledgeDistillationMethod::read_trajectories(const Batch& raw) const {
  std::vector<Trajectory> trajectories;
  for (const SampleInfo& info : raw.info) {
    trajectories.push_back(cache_->read(info.dataset_row));
    check_text(trajectories.back(), raw.text_embedding_BLD[std::ssize(trajectories) - 1], info);
    const at::Tensor& timesteps = trajectories.back().timesteps_S;
    if (at::equal(timesteps, at::tensor(teacher_timesteps_, at::kLong))) continue;
    const std::vector<int64_t> stored(timesteps.const_data_ptr<int64_t>(),
                                      timesteps.const_data_ptr<int64_t>() + timesteps.numel());
    fail<DataError>(
        "method.teacher_path_cache: '{}' must have been made at this run's flow shift {} and its "
        "timesteps [{}], but row {} has [{}]; name another folder, or delete this one to have it "
        "made anew",
        config_.teacher_path_cache, context().flow_shift, fmt::join(teacher_timesteps_, ", "),
        info.dataset_row, fmt::join(stored, ", "));
  }
  return trajectories;
}

KnowledgeDistillationMethod::Target KnowledgeDistillationMethod::target_at(
    const std::vector<Trajectory>& trajectories, const at::Tensor& steps,
    const TrainingBatch& batch) const {
  const at::IntArrayRef shape_TCHW = batch.latents_BTCHW.sizes().slice(1);
  const at::Tensor frames_T = at::arange(shape_TCHW[0], at::kLong);
  const at::Tensor entries = at::tensor(entries_, at::kLong);
  const int64_t last_step = num_student_steps() - 1;
  std::vector<at::Tensor> noisy;
  std::vector<at::Tensor> clean;
  for (size_t i = 0; i < trajectories.size(); ++i) {
    const Trajectory& trajectory = trajectories[i];
    if (trajectory.clean_TCHW.sizes() != shape_TCHW) {
      fail<DataError>(
          "method.teacher_path_cache: '{}' must hold latents of this run's length and size {}, but "
          "those of sample '{}' are {}; name another folder, or delete this one to have it made "
          "anew",
          config_.teacher_path_cache, format_shape(shape_TCHW), batch.sample_names[i],
          format_shape(trajectory.clean_TCHW.sizes()));
    }
    const at::Tensor step = steps[static_cast<int64_t>(i)].reshape({-1});
    const at::Tensor entry = entries.index_select(0, step.clamp_max(last_step));
    const at::Tensor state_TCHW =
        trajectory.latents_STCHW.index({entry.expand({frames_T.size(0)}), frames_T});
    const at::Tensor is_finished = (step > last_step).view({-1, 1, 1, 1});
    noisy.push_back(at::where(is_finished, trajectory.clean_TCHW, state_TCHW));
    clean.push_back(trajectory.clean_TCHW);
  }
  const auto on_device = [&](const std::vector<at::Tensor>& rows) {
    return at::stack(rows).to(schedule_.device(), at::kFloat, /*non_blocking=*/true);
  };
  return {on_device(noisy), on_device(clean)};
}

config::MethodWork KnowledgeDistillationMethod::work(const KnowledgeDistillationConfig& /*config*/,
                                                     int64_t /*num_latent_frames*/) {
  return {.passes = {{.role = "student", .purpose = "loss", .differentiable = true}}};
}

StepOutput KnowledgeDistillationMethod::single_train_step(const Batch& raw,
                                                          const StepIndex& /*index*/) {
  const std::vector<Trajectory> trajectories = read_trajectories(raw);
  const at::Tensor steps = draw_steps(raw, trajectories.front().clean_TCHW.size(0));
  const TrainingBatch batch =
      student().prepare_batch(with_texts_of(trajectories, raw), latents_source());
  const Target target = target_at(trajectories, steps, batch);
  const at::Tensor timestep =
      timesteps_K_.index_select(0, steps.flatten().to(schedule_.device(), /*non_blocking=*/true))
          .view(steps.sizes());
  const at::Tensor velocity =
      student().predict_noise(target.noisy_BTCHW, timestep, batch.conditional);
  const at::Tensor clean =
      velocity_to_clean(velocity.to(at::kFloat), target.noisy_BTCHW, schedule_.sigma_at(timestep));
  const at::Tensor is_finished = steps == num_student_steps();
  const at::Tensor judged = at::where(
      is_finished.view({steps.size(0), -1, 1, 1, 1}).to(clean.device(), /*non_blocking=*/true),
      target.clean_BTCHW, clean);
  const double judged_share = 1.0 - is_finished.to(at::kDouble).mean().item<double>();
  const at::Tensor loss = 0.5 / judged_share * at::mse_loss(judged, target.clean_BTCHW);
  const at::Tensor logged = loss.detach();
  return {{{"total_loss", logged}, {"kd_loss", logged}},
          {{step_metric(), steps.to(at::kDouble).mean().item<double>()}},
          {{&student(), loss}},
          student().num_tokens(target.noisy_BTCHW.sizes())};
}

std::vector<RoleOptimizer*> KnowledgeDistillationMethod::optimizers(int64_t /*step*/) {
  return {&optimizer_};
}

std::optional<FewStepRollout> KnowledgeDistillationMethod::few_step_rollout() {
  return FewStepRollout{.schedule = schedule_,
                        .timesteps = timesteps_K_.narrow(0, 0, num_student_steps()).split(1),
                        .transition = FewStepTransition::kOde};
}

}  // namespace zoetrope
