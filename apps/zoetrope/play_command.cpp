#include "zoetrope/play_command.h"

#include <memory>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/model_play_session.h"
#include "zoetrope/model_sampler.h"
#include "zoetrope/serving/serve_play.h"

namespace zoetrope {
namespace {

constexpr int kMaxPort = 65535;

constexpr const char* kExamples = R"(Examples:
  zoetrope play runs/world_model/steering/03-self_forcing/diffusers_ema --image first.png \
      --steps 1000,750,500,250 --warp
  zoetrope play models/pong --image first.png --keys none,up,down --port 8000
  zoetrope play runs/self_forcing/diffusers --prompt "a cat" --height 480 --width 832 --local-attn-size 12

Prints the address of a page for the browser, on which keys steer the model; frames per second and the time from a key
to its frames are shown there. Nobody but this machine can reach the page (from another one: ssh -L 8000:127.0.0.1:8000),
and one page plays at a time. Few steps and --warp must be those of the training, and --flow-shift where its config had a
pipeline.flow_shift.)";

struct Options {
  PlayModelOptions model;
  std::vector<std::string> keys;
  double mouse_step = 0.1;
  double fps = 16.0;
  int port = 0;
};

PlayControls controls_of(const Options& options, const PlayPlan& plan) {
  const std::vector<std::string> keys =
      options.keys.empty() ? PlayControls::default_keys(plan.num_keys()) : options.keys;
  if (std::ssize(keys) != plan.num_keys())
    fail<ConfigError>("--keys: must name the model's {} keys, but names {}", plan.num_keys(),
                      keys.size());
  return {keys, plan.has_mouse() ? options.mouse_step : 0.0};
}

void play(const Options& options) {
  const PlayPlan plan = plan_play(options.model);
  const PlayOptions page{
      .controls = controls_of(options, plan), .fps = options.fps, .title = options.model.model};
  ModelPlaySession session(plan);
  serve_play(session, page, options.port);
}

}  // namespace

void add_play_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  PlayModelOptions& model = options->model;
  model.choices.pipeline = "wan-causal-dmd";
  CLI::App* command = app.add_subcommand("play", "Steer a streaming model live, in the browser");
  command->footer(kExamples);
  command
      ->add_option("MODEL", model.model, "Pipeline folder, or Hugging Face name in the local cache")
      ->required();
  command->add_option("--image", model.image, "PNG or JPEG that the clip begins with");
  command->add_option("--prompt", model.prompt, "What to show, for a model that takes text");
  command->add_option("--height", model.num_height, "Pixels [the picture's]");
  command->add_option("--width", model.num_width, "Pixels [the picture's]");
  command
      ->add_option("--keys", options->keys,
                   "A name for each of the model's keys: letters, digits, signs, up, down, left, "
                   "right, space, enter, shift; none: down while no other is [w,s,a,d,q,e]")
      ->delimiter(',')
      ->allow_extra_args(false);  // the model may follow
  command
      ->add_option("--mouse-step", options->mouse_step,
                   "Movement of the mouse while an arrow key is down, for a model that takes one")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--fps", options->fps, "Frames per second of the page")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--port", options->port, "Port of the page; 0: a free one")
      ->check(CLI::Range(0, kMaxPort))
      ->capture_default_str();
  add_pipeline_options(*command, model.choices);
  command->add_option("--seed", model.seed, "Seed of the noise")->capture_default_str();
  command->add_option("--device", model.device, "auto, cpu or cuda")->capture_default_str();
  command->add_option("--dtype", model.dtype, "Type of the transformer: fp32 or bf16")
      ->capture_default_str();
  command->callback([options] { play(*options); });
}

}  // namespace zoetrope
