#include "zoetrope/callbacks/validation_config.h"

#include "zoetrope/pipelines/pipeline_kind.h"

namespace zoetrope {
namespace {

std::vector<std::string> built_pipelines() {
  std::vector<std::string> names;
  for (const PipelineKind& kind : pipeline_kinds()) {
    for (const std::string& target : kind.fastvideo_targets) names.push_back(target);
  }
  for (const PipelineKind& kind : pipeline_kinds()) {
    for (const std::string& target : kind.fastvideo_targets) names.push_back(class_name(target));
  }
  return names;
}

// FastVideo's inference pipelines of the Wan family that this version cannot sample with.
std::vector<std::string> pipelines_not_built() {
  return {
      "fastvideo.pipelines.basic.turbodiffusion.turbodiffusion_pipeline.TurboDiffusionPipeline"};
}

void describe_sampling(config::Schema<ValidationConfig>& schema) {
  schema.field(
      "sampling_steps", &ValidationConfig::sampling_steps,
      "Numbers of sampling steps; one pass over the prompts for each. Few-step pipelines make "
      "one pass, at sampling_timesteps.",
      config::at_least(1));
  schema.field("sampling_timesteps", &ValidationConfig::sampling_timesteps,
               "Few-step pipelines: timesteps at which the student denoises; null for those that "
               "the method trains (`dmd_denoising_steps`).");
  schema.field("warp_denoising_step", &ValidationConfig::warp_denoising_step,
               "Whether sampling_timesteps are moved onto the schedule; null for what the method "
               "does, or false where it has no steps.");
  schema.field("guidance_scale", &ValidationConfig::guidance_scale,
               "Scale of classifier-free guidance; null for the preset of Wan 2.1 1.3B, 3.0. 1 "
               "switches it off. Few-step pipelines have none.");
  schema.field(
      "num_frames", &ValidationConfig::num_frames,
      "Pixel frames; null for those of training, 4 (num_latent_t - 1) + 1. Causal students "
      "can make longer videos than they were trained on.");
  schema.field("num_videos_per_prompt", &ValidationConfig::num_videos_per_prompt,
               "Videos of each prompt.", config::at_least(1));
  schema.field("fps", &ValidationConfig::fps, "Frames per second of the files.",
               config::greater_than(0.0));
  schema.field("sampler", &ValidationConfig::sampler, "Sampler.",
               config::one_of({"unipc", "euler"}));
  schema.field("negative_prompt", &ValidationConfig::negative_prompt,
               "What guidance steers away from.");
}

}  // namespace

void ValidationConfig::describe(config::Schema<ValidationConfig>& schema) {
  schema.field(
      "pipeline_target", &ValidationConfig::pipeline_target,
      "How videos are sampled: WanPipeline (many steps, guidance), WanDMDPipeline (a "
      "distilled student's few steps), WanCausalPipeline and WanCausalDMDPipeline (the "
      "same block by block, for causal students). Those of image-to-video models and games "
      "(WanImageToVideoPipeline, MatrixGame2CausalDMDPipeline) are the same.",
      config::one_of(built_pipelines(), pipelines_not_built()));
  schema.required("dataset_file", &ValidationConfig::dataset_file,
                  "JSON file of prompts: `{\"data\": [{\"caption\": ...}, ...]}`; `image_path` (or "
                  "`video_path`, its first frame) and `action_path` for models that take them.");
  schema.field("every_steps", &ValidationConfig::every_steps,
               "Steps between validations; 0 or less: none.");
  schema.field("run_at_start", &ValidationConfig::run_at_start,
               "Validate before the first step, too.");
  describe_sampling(schema);
  schema.field("output_dir", &ValidationConfig::output_dir,
               "Folder of videos and contact sheets; null for training.checkpoint.output_dir.");
  schema.field(
      "loss_data_path", &ValidationConfig::loss_data_path,
      "Data of the validation loss, best held out of training; null for the training data.");
  schema.field("loss_num_samples", &ValidationConfig::loss_num_samples,
               "Samples of the validation loss; 0: no loss.", config::at_least(0));
  schema.field("loss_num_timestep_bins", &ValidationConfig::loss_num_timestep_bins,
               "Equal bins of [0, 1000]; the loss is taken in the middle of each.",
               config::at_least(0));
  schema.not_built("overlay_actions", "videos that actions steer");
  schema.not_built("keyboard_value_scale", "videos that actions steer");
  schema.not_built("metrics", "quality metrics of the videos");
  schema.not_built("attn_qat_infer", "quantised attention");
  schema.without_effect("use_validation_media_conditioning",
                        "models that begin with an image need one, others use none");
  for (const char* key : {"offload_training_state", "unload_pipeline_after_validation"}) {
    schema.without_effect(
        key, "validation shares the student's weights and frees the text encoder by itself");
  }
}

}  // namespace zoetrope
