// Rows and files for the tests of data/.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "zoetrope/data/parquet_writer.h"

namespace zoetrope::test {

/// A t2v row whose latents are all `number` and whose caption is `caption <number>`.
inline ParquetRow t2v_row(int64_t number, int64_t num_latent_frames = 2, int64_t latent_width = 3) {
  ParquetRow row;
  row.texts = {{"id", "clip_" + std::to_string(number)},
               {"file_name", "clip_" + std::to_string(number) + ".mp4"},
               {"caption", "caption " + std::to_string(number)},
               {"media_type", "video"}};
  row.integers = {{"width", 8 * latent_width}, {"height", 16}, {"num_frames", num_latent_frames}};
  row.numbers = {{"duration_sec", 0.5}, {"fps", 16.0}};
  row.tensors = {
      {"vae_latent",
       at::full({4, num_latent_frames, 2, latent_width}, static_cast<double>(number))},
      {"text_embedding", at::full({1 + number % 3, 5}, 1.0 + static_cast<double>(number))}};
  return row;
}

/// `num_files` files of `rows_per_file` rows numbered from 0 on.
inline void write_t2v_folder(const std::filesystem::path& folder, int64_t num_files,
                             int64_t rows_per_file) {
  ParquetChunkWriter writer(folder / "worker_0", parquet_schema("t2v"), rows_per_file);
  for (int64_t number = 0; number < num_files * rows_per_file; ++number)
    writer.append(t2v_row(number));
  writer.flush();
}

}  // namespace zoetrope::test
