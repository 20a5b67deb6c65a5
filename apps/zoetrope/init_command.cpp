#include "zoetrope/init_command.h"

#include <memory>
#include <optional>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/nearest.h"
#include "zoetrope/networks/random_pipeline.h"
#include "zoetrope/tensor/dtype.h"

namespace zoetrope {
namespace {

constexpr const char* kExamples = R"(Examples:
  zoetrope init tiny models/tiny
  zoetrope init wan2.1-t2v-1.3b models/random-1.3b --dtype bf16 --seed 1
  zoetrope init tiny models/tiny --components transformer vae text_encoder

Tokenizers cannot be random: copy the tokenizer folder of a real pipeline where one is needed.)";

struct Options {
  std::string size;
  std::string folder;
  std::string dtype = "bf16";
  std::optional<int64_t> num_layers;
  std::optional<int64_t> num_heads;
  std::optional<int64_t> ffn_dim;
  std::optional<int64_t> text_dim;
  RandomPipelineOptions pipeline;
};

PipelineSize resized(PipelineSize size, const Options& options) {
  WanTransformerConfig& transformer = size.transformer;
  transformer.num_layers = options.num_layers.value_or(transformer.num_layers);
  transformer.num_attention_heads = options.num_heads.value_or(transformer.num_attention_heads);
  transformer.ffn_dim = options.ffn_dim.value_or(transformer.ffn_dim);
  transformer.text_dim = options.text_dim.value_or(transformer.text_dim);
  return size;
}

void initialize(const Options& options) {
  std::vector<std::string> names;
  RandomPipelineOptions pipeline = options.pipeline;
  const auto dtype = parse_dtype(options.dtype);
  if (!dtype || !c10::isFloatingType(*dtype)) {
    fail<ConfigError>("--dtype: must be fp32, bf16 or fp16, but got '{}'", options.dtype);
  }
  pipeline.dtype = *dtype;
  for (const PipelineSize& size : pipeline_sizes()) {
    names.push_back(size.name);
    if (size.name != options.size) continue;
    log_info("writing {} ({}) with random {} weights into {}", size.name, size.doc, options.dtype,
             options.folder);
    return write_random_pipeline(options.folder, resized(size, options), pipeline);
  }
  fail<ConfigError>("init: SIZE must be one of {}, but got '{}'{}", fmt::join(names, ", "),
                    options.size, did_you_mean(options.size, names));
}

}  // namespace

void add_init_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("init", "Write a pipeline folder with random weights");
  command->footer(kExamples);
  std::string sizes;
  for (const PipelineSize& size : pipeline_sizes())
    sizes += fmt::format("\n  {}: {}", size.name, size.doc);
  command->add_option("SIZE", options->size, "One of:" + sizes)->required();
  command->add_option("FOLDER", options->folder, "Folder to write; must not exist or be empty")
      ->required();
  command->add_option("--dtype", options->dtype, "Type of the weights: fp32, bf16 or fp16")
      ->capture_default_str();
  command->add_option("--seed", options->pipeline.seed, "Seed of the weights")
      ->capture_default_str();
  command
      ->add_option("--components", options->pipeline.components, "Components to write with weights")
      ->capture_default_str();
  command->add_option("--num-layers", options->num_layers, "Blocks of the transformer")
      ->check(CLI::PositiveNumber);
  command->add_option("--num-heads", options->num_heads, "Attention heads of the transformer")
      ->check(CLI::PositiveNumber);
  command->add_option("--ffn-dim", options->ffn_dim, "Width of the transformer's feed-forward")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--text-dim", options->text_dim, "Width of the text that the transformer reads")
      ->check(CLI::PositiveNumber);
  command->callback([options] { initialize(*options); });
}

}  // namespace zoetrope
