#include "zoetrope/callbacks/validation.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "zoetrope/base/log.h"
#include "zoetrope/callbacks/validation_sampling.h"
#include "zoetrope/media/image.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"
#include "zoetrope/pipelines/video_output.h"

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

}  // namespace

ValidationCallback::ValidationCallback(const ValidationConfig& config,
                                       const CallbackContext& context)
    : config_(config),
      context_(context),
      prompts_(read_validation_prompts(config.dataset_file)),
      loss_({loss_data(config, context.data), config.loss_num_samples,
             config.loss_num_timestep_bins}) {}

void ValidationCallback::on_train_start(RunState& run) {
  if (config_.every_steps <= 0) return;
  validation_passes(config_, context_, run.method);
  const PipelineKind& kind = pipeline_kind(config_.pipeline_target);
  if (kind.causal) require_causal_student(run.method.student(), kind);
}

bool ValidationCallback::due(int64_t step) const {
  if (config_.every_steps <= 0 || step % config_.every_steps != 0) return false;
  return step != 0 || config_.run_at_start;
}

void ValidationCallback::on_validation_begin(RunState& run) {
  if (!due(run.step)) return;
  const UseAverage use_average(run.average);
  const std::vector<Metric> metrics = loss_.measure(run.method.student());
  if (!metrics.empty()) run.tracker.log(run.step, metrics);
  for (const SamplingOptions& sampling : validation_passes(config_, context_, run.method))
    sample_videos(run, sampling);
}

int64_t ValidationCallback::num_frames() const {
  return config_.num_frames.value_or(4 * (context_.data.num_latent_t - 1) + 1);
}

VideoOptions ValidationCallback::video_options(const ModelBase& student,
                                               const SamplingOptions& sampling) const {
  VideoOptions options;
  options.num_frames = num_frames();
  options.num_height = context_.data.num_height;
  options.num_width = context_.data.num_width;
  options.seed = context_.data.seed;
  options.negative_prompt = config_.negative_prompt;
  options.sampling = sampling;
  options.has_text = video_inputs(student.data_type()).text;
  return options;
}

ValidationCallback::Generate ValidationCallback::generate_with(ModelBase& student,
                                                               const VideoOptions& options) {
  const PipelineKind& kind = pipeline_kind(config_.pipeline_target);
  if (!kind.causal) {
    return [this, options, network = student.denoising_network()](const VideoRequest& request,
                                                                  const FrameSink& sink) {
      return generator_->generate(network, request, options, sink);
    };
  }
  const int64_t num_latent_frames = generator_->num_latent_frames(options);
  return [this, options,
          network = require_causal_student(student, kind).streaming_network(num_latent_frames)](
             const VideoRequest& request, const FrameSink& sink) {
    return generator_->stream(network, request, options, sink);
  };
}

void ValidationCallback::sample_videos(RunState& run, const SamplingOptions& sampling) {
  if (!generator_) generator_.emplace(context_.pipeline_folder, context_.device);
  ModelBase& student = run.method.student();
  const VideoOptions options = video_options(student, sampling);
  const VideoInputs inputs = video_inputs(student.data_type());
  std::vector<std::string> captions;
  if (sampling.guidance_scale > 1.0) captions.push_back(config_.negative_prompt);
  for (const ValidationPrompt& prompt : prompts_) captions.push_back(prompt.caption);
  if (inputs.text) generator_->prepare_prompts(captions);

  const std::filesystem::path folder = config_.output_dir.value_or(context_.output_dir.string());
  std::filesystem::create_directories(folder);
  const std::string name =
      fmt::format("validation_step_{}_inference_steps_{}", run.step, num_steps(sampling));
  const Generate generate = generate_with(student, options);
  VideoTiming last;
  std::vector<std::vector<media::Frame>> videos;
  for (const ValidationPrompt& prompt : prompts_) {
    for (int64_t repeat = 0; repeat < config_.num_videos_per_prompt; ++repeat) {
      const auto index = static_cast<int64_t>(videos.size());
      const auto path = folder / fmt::format("{}_rank_0_video_{}.mp4", name, index);
      VideoOutput video(path, num_frames(), kContactSheetColumns, config_.fps);
      last = generate(make_video_request(prompt, index, options, inputs),
                      [&](const auto& frames) { video.add(frames); });
      videos.push_back(video.finish());
      run.tracker.log_video(
          run.step, fmt::format("validation_videos_{}_steps/{}", num_steps(sampling), index), path,
          prompt.caption, config_.fps);
    }
  }
  log_info(
      "validation at step {}: {} videos of {} frames; the last one's first frame came after "
      "{:.2f} s, {:.1f} frames/s in all",
      run.step, videos.size(), last.num_frames, last.first_frame_sec, last.frames_per_sec());
  const auto sheet = folder / (name + ".png");
  media::write_png(sheet, media::contact_sheet(videos, kContactSheetColumns));
  run.tracker.log_image(run.step, fmt::format("validation_{}_steps", num_steps(sampling)), sheet);
}

}  // namespace zoetrope
