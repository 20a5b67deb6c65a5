#include "zoetrope/callbacks/validation.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "zoetrope/media/image.h"
#include "zoetrope/media/video_writer.h"

namespace zoetrope {
namespace {

constexpr int kContactSheetColumns = 6;

// The averaged weights are in the network as long as this lives.
class UseAverage {
 public:
  explicit UseAverage(ExponentialMovingAverage* average) : average_(average) {
    if (average_ != nullptr) average_->swap();
  }
  ~UseAverage() {
    if (average_ != nullptr) average_->swap();
  }
  UseAverage(const UseAverage&) = delete;
  UseAverage& operator=(const UseAverage&) = delete;

 private:
  ExponentialMovingAverage* average_;
};

DataConfig loss_data(const ValidationConfig& config, DataConfig data) {
  if (config.loss_data_path) data.data_path = *config.loss_data_path;
  return data;
}

// FastVideo's inference pipelines of the Wan family that this version cannot sample with.
std::vector<std::string> pipelines_not_built() {
  const std::string wan = "fastvideo.pipelines.basic.wan.";
  const std::string matrixgame = "fastvideo.pipelines.basic.matrixgame2.";
  return {
      wan + "wan_dmd_pipeline.WanDMDPipeline",
      wan + "wan_causal_pipeline.WanCausalPipeline",
      wan + "wan_causal_dmd_pipeline.WanCausalDMDPipeline",
      wan + "wan_i2v_pipeline.WanImageToVideoPipeline",
      matrixgame + "matrixgame2_i2v_pipeline.MatrixGame2I2VPipeline",
      matrixgame + "matrixgame2_causal_dmd_pipeline.MatrixGame2CausalDMDPipeline",
      "fastvideo.pipelines.basic.turbodiffusion.turbodiffusion_pipeline.TurboDiffusionPipeline"};
}

void describe_sampling(config::Schema<ValidationConfig>& schema) {
  schema.field("sampling_steps", &ValidationConfig::sampling_steps,
               "Numbers of sampling steps; one pass over the prompts for each.");
  schema.field("guidance_scale", &ValidationConfig::guidance_scale,
               "Scale of classifier-free guidance; null for the preset of Wan 2.1 1.3B, 3.0. 1 "
               "switches it off.");
  schema.field("num_frames", &ValidationConfig::num_frames,
               "Pixel frames; null for those of training, 4 (num_latent_t - 1) + 1.");
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
      "pipeline_target", &ValidationConfig::pipeline_target, "Inference pipeline of the videos.",
      config::one_of({"fastvideo.pipelines.basic.wan.wan_pipeline.WanPipeline", "WanPipeline"},
                     pipelines_not_built()));
  schema.required("dataset_file", &ValidationConfig::dataset_file,
                  "JSON file of prompts: `{\"data\": [{\"caption\": ...}, ...]}`.");
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
  schema.not_built("sampling_timesteps", "few-step sampling");
  schema.not_built("overlay_actions", "videos that actions steer");
  schema.not_built("keyboard_value_scale", "videos that actions steer");
  schema.not_built("metrics", "quality metrics of the videos");
  schema.not_built("attn_qat_infer", "quantised attention");
  schema.without_effect("use_validation_media_conditioning",
                        "text-to-video has no media to start from");
  for (const char* key : {"offload_training_state", "unload_pipeline_after_validation"}) {
    schema.without_effect(
        key, "validation shares the student's weights and frees the text encoder by itself");
  }
}

ValidationCallback::ValidationCallback(const ValidationConfig& config,
                                       const CallbackContext& context)
    : config_(config),
      context_(context),
      prompts_(read_validation_prompts(config.dataset_file)),
      loss_({loss_data(config, context.data), config.loss_num_samples,
             config.loss_num_timestep_bins}) {}

bool ValidationCallback::due(int64_t step) const {
  if (config_.every_steps <= 0 || step % config_.every_steps != 0) return false;
  return step != 0 || config_.run_at_start;
}

void ValidationCallback::on_validation_begin(RunState& run) {
  if (!due(run.step)) return;
  const UseAverage use_average(run.average);
  const std::vector<Metric> metrics = loss_.measure(run.method.student());
  if (!metrics.empty()) run.tracker.log(run.step, metrics);
  for (const int64_t num_steps : config_.sampling_steps) sample_videos(run, num_steps);
}

VideoOptions ValidationCallback::video_options(int64_t num_steps) const {
  VideoOptions options;
  options.num_frames = config_.num_frames.value_or(4 * (context_.data.num_latent_t - 1) + 1);
  options.num_height = context_.data.num_height;
  options.num_width = context_.data.num_width;
  options.seed = context_.data.seed;
  options.negative_prompt = config_.negative_prompt;
  options.sampling.num_steps = num_steps;
  options.sampling.sampler =
      config_.sampler == "euler" ? SamplerKind::kFlowMatchEuler : SamplerKind::kUniPc;
  if (config_.guidance_scale) options.sampling.guidance_scale = *config_.guidance_scale;
  options.sampling.flow_shift = context_.flow_shift;
  return options;
}

void ValidationCallback::sample_videos(RunState& run, int64_t num_steps) {
  if (!generator_) generator_.emplace(context_.pipeline_folder, context_.device);
  std::vector<std::string> captions = {config_.negative_prompt};
  for (const ValidationPrompt& prompt : prompts_) captions.push_back(prompt.caption);
  generator_->prepare_prompts(captions);

  const std::filesystem::path folder = config_.output_dir.value_or(context_.output_dir.string());
  std::filesystem::create_directories(folder);
  const std::string name =
      fmt::format("validation_step_{}_inference_steps_{}", run.step, num_steps);
  const VideoOptions options = video_options(num_steps);
  const DenoisingNetwork network = run.method.student().denoising_network();
  std::vector<std::vector<media::Frame>> videos;
  for (const ValidationPrompt& prompt : prompts_) {
    for (int64_t repeat = 0; repeat < config_.num_videos_per_prompt; ++repeat) {
      const auto index = static_cast<int64_t>(videos.size());
      videos.push_back(generator_->generate(network, {prompt.caption, index}, options));
      const auto path = folder / fmt::format("{}_rank_0_video_{}.mp4", name, index);
      media::write_video(path, videos.back(), {.fps = config_.fps});
      run.tracker.log_video(run.step,
                            fmt::format("validation_videos_{}_steps/{}", num_steps, index), path,
                            prompt.caption, config_.fps);
    }
  }
  const auto sheet = folder / (name + ".png");
  media::write_png(sheet, media::contact_sheet(videos, kContactSheetColumns));
  run.tracker.log_image(run.step, fmt::format("validation_{}_steps", num_steps), sheet);
}

}  // namespace zoetrope
