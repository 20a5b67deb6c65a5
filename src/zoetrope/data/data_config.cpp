#include "zoetrope/data/data_config.h"

#include <algorithm>

#include <fmt/format.h>

#include "zoetrope/config/scalar.h"
#include "zoetrope/config/text_list.h"

namespace zoetrope {

void DataConfig::describe(config::Schema<DataConfig>& schema) {
  using config::at_least;
  schema.required(
      "data_path", &DataConfig::data_path,
      "Folders of parquet files that `zoetrope preprocess` or FastVideo wrote: one path, "
      "`\"a:2,b\"` (rows "
      "of `a` count twice), a list, or a map of path to repeat; repeat 0 leaves a folder out.");
  schema.field("preprocessed_data_type", &DataConfig::preprocessed_data_type,
               "What the rows hold: `t2v` is video latents and text, `text_only` is text "
               "(data-free distillation). Image- and action-driven models read `i2v` or "
               "`matrixgame2` whatever is here.",
               config::one_of({"t2v", "text_only", "i2v", "matrixgame2"}));
  schema.field("train_batch_size", &DataConfig::train_batch_size,
               "Samples of one micro-batch, per sequence-parallel group.", at_least(1));
  schema.field("dataloader_num_workers", &DataConfig::dataloader_num_workers,
               "Threads that read ahead; 0 is one thread.", at_least(0));
  schema.field(
      "training_cfg_rate", &DataConfig::training_cfg_rate,
      "Share of samples whose text is replaced by zeros, which classifier-free guidance needs.",
      config::between(0, 1));
  schema.field("sampler", &DataConfig::sampler,
               "Order of samples: `keyed` draws a new permutation for every epoch; `fastvideo` "
               "repeats one permutation "
               "and its text dropout, as the reference does.",
               config::one_of({"keyed", "fastvideo"}));
  schema.field("seed", &DataConfig::seed,
               "Seed of everything random in the run: order, noise, timesteps, dropout.",
               at_least(0));
  schema.field("num_height", &DataConfig::num_height,
               "Height in pixels, for validation videos and for methods without data.",
               at_least(0));
  schema.field("num_width", &DataConfig::num_width,
               "Width in pixels, for validation videos and for methods without data.", at_least(0));
  schema.required("num_latent_t", &DataConfig::num_latent_t,
                  "Latent frames of a training sample; longer rows are cut to their first ones. F "
                  "pixel frames make (F - "
                  "1) / 4 + 1 latent frames.",
                  at_least(1));
  schema.field("num_frames", &DataConfig::num_frames,
               "Pixel frames of a sample; a note for the reader, what counts is `num_latent_t`.",
               at_least(0));
}

namespace config {
namespace {

/// `path:3` as (path, 3); a colon that no number follows belongs to the path.
DataSource parse_source(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon + 1 == text.size()) return {text, 1};
  const std::string repeat = text.substr(colon + 1);
  if (repeat.find_first_not_of("0123456789") != std::string::npos) return {text, 1};
  return {text.substr(0, colon), parse_integer(repeat).value_or(1)};
}

bool read_map(const Node& node, DataSources& value, const ReadContext& context) {
  bool ok = true;
  for (const auto& [path, repeat_node] : node.entries()) {
    DataSource source{path, 1};
    const ReadContext child{context.issues, child_path(context.path, path)};
    ok = read_value(repeat_node, source.repeat, child) && ok;
    if (source.repeat < 0) {
      ok = refuse(repeat_node, child,
                  fmt::format("must be at least 0, but got {}", repeat_node.describe()));
    }
    value.sources.push_back(std::move(source));
  }
  return ok;
}

}  // namespace

bool Type<DataSources>::read(const Node& node, DataSources& value, const ReadContext& context) {
  value.sources.clear();
  if (node.is_null()) return refuse(node, context, "must name a folder, but got null");
  bool ok = true;
  if (node.is_map()) {
    ok = read_map(node, value, context);
  } else if (node.is_list()) {
    std::vector<std::string> paths;
    ok = Type<std::vector<std::string>>::read(node, paths, context);
    for (std::string& path : paths) value.sources.push_back({std::move(path), 1});
  } else {
    const Node parts = split_text_list(node);
    for (const Node& part : parts.items()) value.sources.push_back(parse_source(part.text()));
  }
  const bool any = std::any_of(
      value.sources.begin(), value.sources.end(),
      [](const DataSource& source) { return source.repeat > 0 && !source.path.empty(); });
  if (ok && !any)
    return refuse(node, context, fmt::format("must name a folder, but got {}", node.describe()));
  return ok;
}

Node Type<DataSources>::write(const DataSources& value) {
  if (value.sources.size() == 1 && value.sources[0].repeat == 1) {
    // A list, because one path with a comma or a colon in it would be split as text.
    return Type<std::vector<std::string>>::write({value.sources[0].path});
  }
  Node map = Node::map();
  for (const DataSource& source : value.sources) {
    const Node* earlier = map.find(source.path);
    const int64_t before = earlier != nullptr ? parse_integer(earlier->text()).value_or(0) : 0;
    map.set(source.path, write_value(before + source.repeat));
  }
  return map;
}

}  // namespace config
}  // namespace zoetrope
