#include "zoetrope/data/parquet_schema.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/nearest.h"

namespace zoetrope {
namespace {

std::vector<PlainColumn> source_columns() {
  return {{"id", PlainKind::kText, true},
          {"file_name", PlainKind::kText},
          {"caption", PlainKind::kText, true},
          {"media_type", PlainKind::kText}};
}

std::vector<PlainColumn> video_columns() {
  std::vector<PlainColumn> columns = source_columns();
  columns.push_back({"width", PlainKind::kInteger});
  columns.push_back({"height", PlainKind::kInteger});
  columns.push_back({"num_frames", PlainKind::kInteger});
  columns.push_back({"duration_sec", PlainKind::kNumber});
  columns.push_back({"fps", PlainKind::kNumber});
  return columns;
}

std::vector<ParquetSchema> make_schemas() {
  const TensorColumn vae_latent{"vae_latent", 4};
  const TensorColumn text_embedding{"text_embedding", 2};
  const TensorColumn clip_feature{"clip_feature", 2};
  const TensorColumn first_frame_latent{"first_frame_latent", 4};
  const TensorColumn image{"pil_image", 0, false};
  const TensorColumn mouse{"mouse_cond", 2, false};  // not every game has one
  const TensorColumn keyboard{"keyboard_cond", 2};
  const TensorColumn trajectory_latents{"trajectory_latents", 0};
  const TensorColumn trajectory_timesteps{"trajectory_timesteps", 0};
  std::vector<PlainColumn> audio_columns = video_columns();
  audio_columns.push_back({"audio_sample_rate", PlainKind::kInteger});
  return {
      {"t2v", {vae_latent, text_embedding}, video_columns()},
      {"t2va", {vae_latent, {"audio_latent", 0}, text_embedding}, audio_columns},
      {"i2v",
       {vae_latent, text_embedding, clip_feature, first_frame_latent, image},
       video_columns()},
      {"text_only",
       {text_embedding},
       {{"id", PlainKind::kText, true}, {"caption", PlainKind::kText, true}}},
      {"ode_trajectory_text_only",
       {text_embedding, trajectory_latents, trajectory_timesteps},
       source_columns()},
      {"matrixgame2",
       {vae_latent, clip_feature, first_frame_latent, mouse, keyboard, image},
       video_columns()},
      {"matrixgame2_ode_trajectory",
       {mouse, keyboard, clip_feature, first_frame_latent, image, trajectory_latents,
        trajectory_timesteps},
       source_columns()},
  };
}

}  // namespace

bool ParquetSchema::has_tensor(std::string_view tensor) const {
  return std::ranges::any_of(tensors,
                             [&](const TensorColumn& column) { return column.name == tensor; });
}

const std::vector<ParquetSchema>& parquet_schemas() {
  static const std::vector<ParquetSchema> schemas = make_schemas();
  return schemas;
}

const ParquetSchema& parquet_schema(std::string_view name) {
  std::vector<std::string> names;
  for (const ParquetSchema& schema : parquet_schemas()) {
    if (schema.name == name) return schema;
    names.push_back(schema.name);
  }
  fail<DataError>("parquet schema: must be one of {}, but got '{}'{}", fmt::join(names, ", "), name,
                  did_you_mean(name, names));
}

const std::string& ParquetRow::text(const std::string& name) const {
  static const std::string empty;
  const auto found = texts.find(name);
  return found == texts.end() ? empty : found->second;
}

}  // namespace zoetrope
