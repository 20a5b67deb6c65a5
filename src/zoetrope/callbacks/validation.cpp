#include "zoetrope/callbacks/validation.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "zoetrope/base/log.h"
#include "zoetrope/callbacks/gather_frames.h"
#include "zoetrope/callbacks/use_average.h"
#include "zoetrope/callbacks/validation_sampling.h"
#include "zoetrope/media/image.h"
#include "zoetrope/networks/wan_transformer/streaming_network.h"
#include "zoetrope/pipelines/video_output.h"

namespace zoetrope {
namespace {

constexpr int kContactSheetColumns = 6;

DataConfig loss_data(const ValidationConfig& config, DataConfig data) {
  if (config.loss_data_path) data.data_path = *config.loss_data_path;
  return data;
}

/// Of the ranks that sample the same video, one writes it.
bool speaks_for_group(const MeshPlace& place) {
  return place.sequence == 0 && place.tensor == 0;
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
  if (!kind.causal) return;
  CausalModelBase& student = require_causal_student(run.method.student(), kind);
  const WanVaeConfig vae = read_wan_vae_config(context_.pipeline_folder / "vae");
  const StreamingNetwork network = student.streaming_network(vae.num_latent_frames(num_frames()));
  check_video_length(vae, num_frames(), network.max_frames, "callbacks.validation.num_frames");
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

const ValidationPrompt& ValidationCallback::prompt_of(int64_t video) const {
  return prompts_[static_cast<size_t>(video / config_.num_videos_per_prompt)];
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
  const Mesh& mesh = *context_.mesh;
  const int64_t num_groups = mesh.sizes.num_data_groups();
  const int64_t num_videos = std::ssize(prompts_) * config_.num_videos_per_prompt;
  VideoTiming last;
  std::vector<std::vector<media::Frame>> videos;
  // Every group samples as often, since its ranks may need the parameters that the others hold.
  for (int64_t first = 0; first < num_videos; first += num_groups) {
    const auto path_of = [&](int64_t rank) {
      return folder / fmt::format("{}_rank_{}_video_{}.mp4", name, rank, first / num_groups);
    };
    const int64_t index = first + mesh.place.data_group;
    const bool writes = speaks_for_group(mesh.place) && index < num_videos;
    const ValidationPrompt& prompt = prompt_of(index % num_videos);
    VideoOutput video(writes ? path_of(mesh.rank) : std::filesystem::path(), num_frames(),
                      kContactSheetColumns, config_.fps);
    last = generate(make_video_request(prompt, index % num_videos, options, inputs),
                    [&](const auto& frames) { video.add(frames); });
    const auto by_rank = gather_frames(*mesh.world, video.finish());
    for (int64_t rank = 0; rank < std::ssize(by_rank); ++rank) {
      const MeshPlace place = mesh_place(mesh.sizes, rank);
      const int64_t their_index = first + place.data_group;
      if (!speaks_for_group(place) || their_index >= num_videos) continue;
      videos.push_back(by_rank[static_cast<size_t>(rank)]);
      run.tracker.log_video(
          run.step, fmt::format("validation_videos_{}_steps/{}", num_steps(sampling), their_index),
          path_of(rank), prompt_of(their_index).caption, config_.fps);
    }
  }
  log_info(
      "validation at step {}: {} videos of {} frames; the last one's first frame came after "
      "{:.2f} s, {:.1f} frames/s in all",
      run.step, videos.size(), last.num_frames, last.first_frame_sec, last.frames_per_sec());
  if (mesh.rank != 0) return;
  const auto sheet = folder / (name + ".png");
  media::write_png(sheet, media::contact_sheet(videos, kContactSheetColumns));
  run.tracker.log_image(run.step, fmt::format("validation_{}_steps", num_steps(sampling)), sheet);
}

}  // namespace zoetrope
