#include "zoetrope/export_command.h"

#include <memory>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/export_writer.h"
#include "zoetrope/tensor/dtype.h"

namespace zoetrope {
namespace {

constexpr const char* kExamples = R"(Examples:
  zoetrope export runs/quickstart --output wan                          the newest checkpoint, as a Diffusers folder
  zoetrope export runs/quickstart/checkpoint-500 --ema --dtype bf16 --verify --output wan-ema
  zoetrope export runs/quickstart --layout original --output wan-original      config.json and weights as released
  zoetrope export runs/quickstart --layout comfyui --dtype bf16 --output ComfyUI/models/diffusion_models/mine.safetensors
  zoetrope export runs/lora --output lora                               pytorch_lora_weights.safetensors for Diffusers
  zoetrope export runs/lora --merge --output wan-merged                 whole weights with the adapters in them

Checkpoints of FastVideo can be exported, too. Whatever is not trained comes from the pipeline folder that the role's
init_from named; --base gives another place for it.)";

struct Options {
  ExportRequest request;
  ExportOptions writing;
  std::string layout = "diffusers";
  std::string dtype;
};

void run_export(Options options) {
  if (!options.dtype.empty()) {
    options.writing.dtype = parse_dtype(options.dtype);
    if (!options.writing.dtype || !c10::isFloatingType(*options.writing.dtype))
      fail<ConfigError>("--dtype: must be bf16, fp16 or fp32, but got '{}'", options.dtype);
  }
  if (options.layout == "original") options.writing.layout = ExportLayout::kOriginal;
  if (options.layout == "comfyui") options.writing.layout = ExportLayout::kComfyUi;
  check_output(options.writing);
  const ExportSource source = read_export_source(options.request);
  write_export(source, options.writing);
  log_info("exported {} of step {} to {}", options.request.role, source.checkpoint.step,
           options.writing.output.string());
}

}  // namespace

void add_export_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("export", "Write a checkpoint's weights for other programs");
  command->footer(kExamples);
  command
      ->add_option("RUN_OR_CHECKPOINT", options->request.run_or_checkpoint,
                   "Run folder (its newest checkpoint) or checkpoint folder")
      ->required();
  command
      ->add_option("--output", options->writing.output,
                   "Folder to write, or FILE.safetensors for a single file")
      ->required();
  command->add_option("--role", options->request.role, "Role whose weights are written")
      ->capture_default_str();
  command->add_flag("--ema", options->request.average, "The averaged weights of the ema callback");
  command->add_option("--dtype", options->dtype, "bf16, fp16 or fp32 (default: as stored)");
  command
      ->add_option("--layout", options->layout, "Names and files: diffusers, original or comfyui")
      ->check(CLI::IsMember({"diffusers", "original", "comfyui"}))
      ->capture_default_str();
  command->add_option("--base", options->request.base,
                      "Pipeline folder in place of the role's init_from");
  command->add_flag("--merge", options->writing.merge, "Merge adapters (LoRA) into the weights");
  command->add_flag("--verify", options->writing.verify,
                    "Read everything back and compare before the export appears");
  command->add_flag("--overwrite", options->writing.overwrite, "Replace what is at the output");
  command->callback([options] { run_export(*options); });
}

}  // namespace zoetrope
