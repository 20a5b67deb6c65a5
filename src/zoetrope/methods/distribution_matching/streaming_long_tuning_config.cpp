#include "zoetrope/methods/distribution_matching/streaming_long_tuning_config.h"

#include <algorithm>

#include "zoetrope/base/error.h"
#include "zoetrope/methods/requirements.h"

namespace zoetrope {
namespace {

constexpr const char* kScheduleKey = "multi_phased_distill_schedule";

/// Adds each fault at its entry of the list, or where there is none at the schedule or the method.
void refuse_stages(const std::vector<DistillStageFault>& faults, const config::Node& method,
                   const config::ReadContext& context) {
  const config::Node* schedule = method.find(kScheduleKey);
  for (const DistillStageFault& fault : faults) {
    if (schedule == nullptr || schedule->is_null()) {
      refuse(method, context, fault.message);
      continue;
    }
    const std::string path = config::child_path(context.path, kScheduleKey);
    const config::Node& where = schedule->is_list() ? schedule->items()[fault.stage] : *schedule;
    refuse(where, {context.issues, fmt::format("{}[{}]", path, fault.stage)}, fault.message);
  }
}

}  // namespace

void StreamingLongTuningConfig::describe(config::Schema<StreamingLongTuningConfig>& schema) {
  using Config = StreamingLongTuningConfig;
  using config::at_least;
  schema.inherit<SelfForcingConfig>();
  schema.field("streaming_chunk_size", &Config::streaming_chunk_size,
               "Latent frames of the window that teacher and critic score; null: chunk_size.",
               at_least(1));
  schema.field("streaming_max_length", &Config::streaming_max_length,
               "Latent frames after which a streaming stage begins a new clip, where the stage "
               "does not say; null: training.data.num_latent_t.",
               at_least(1));
  schema.field(kScheduleKey, &Config::multi_phased_distill_schedule,
               "Stages, one after another: a list, or `end:frames` or `start:end:frames` with "
               "commas between (the first whole clips, the others streaming). Null: streaming all "
               "the time. Keys of a stage are below.");
  schema.field("streaming_anchor_inject_k", &Config::streaming_anchor_inject_k,
               "Frames at a window's begin that are decoded and encoded again, none of them new.",
               at_least(1));
  schema.field("streaming_reencode_overlap_anchor", &Config::streaming_reencode_overlap_anchor,
               "Whether they are, by the pipeline folder's VAE, so that a window begins as a clip "
               "of its own.");
  schema.field("streaming_require_full_blocks", &Config::streaming_require_full_blocks,
               "Refuse windows whose new frames are not whole blocks of chunk_size.");
  schema.field("real_score_cfg", &Config::real_score_cfg,
               "Whether the teacher is guided; false is real_score_guidance_scale 1.");
  schema.field("streaming_fixed_overlap_latents", &Config::streaming_fixed_overlap_latents,
               "Frames that a window has in common with the one before; null: as many as the drawn "
               "number of new frames leaves.",
               at_least(0));
  schema.field("streaming_min_new_frame", &Config::streaming_min_new_frame,
               "Least number of new frames that is drawn for a window; null: the whole window.",
               at_least(1));
  schema.without_effect("streaming_training", "each stage says whether it streams");
  schema.check(
      [](const Config& method, const config::Node& node, const config::ReadContext& context) {
        refuse_stages(stage_faults(method.stages(0)), node, context);
      });
}

std::vector<DistillStage> StreamingLongTuningConfig::stages(int64_t num_latent_frames) const {
  return resolve_stages(multi_phased_distill_schedule, {.block_size = chunk_size,
                                                        .chunk_size = streaming_chunk_size,
                                                        .max_length = streaming_max_length,
                                                        .least_new_frames = streaming_min_new_frame,
                                                        .overlap = streaming_fixed_overlap_latents,
                                                        .num_latent_frames = num_latent_frames});
}

SelfForcingConfig StreamingLongTuningConfig::self_forcing() const {
  SelfForcingConfig config = static_cast<const SelfForcingConfig&>(*this);
  if (!real_score_cfg) config.real_score_guidance_scale = 1.0;
  return config;
}

void StreamingLongTuningConfig::check_run(const config::Node& node, const config::RunFacts& run,
                                          const config::ReadContext& context) const {
  Dmd2Config::check_run(node, run, context);
  check_block_size("chunk_size", chunk_size, run, node, context);
  const std::vector<DistillStage> all = stages(run.num_latent_frames);
  if (!stage_faults(all).empty()) return;
  refuse_stages(stage_length_faults(all, run.num_latent_frames, streaming_require_full_blocks),
                node, context);
  // Windows have a gradient wherever they begin; whole clips all have one if the shortest has.
  std::optional<int64_t> shortest;
  for (const DistillStage& stage : all) {
    if (stage.streaming || stage.num_frames < 1) continue;
    shortest = std::min(shortest.value_or(stage.num_frames), stage.num_frames);
  }
  if (shortest) check_start_gradient_frame(*shortest, node, context);
}

}  // namespace zoetrope
