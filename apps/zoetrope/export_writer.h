// Writes exported weights in the layouts that other programs read, so that they appear whole or not
// at all. Knows no checkpoint.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "zoetrope/export_source.h"

namespace zoetrope {

enum class ExportLayout {
  kDiffusers,  ///< a whole pipeline folder
  kOriginal,   ///< a folder with config.json and weights named as in the original release
  kComfyUi,    ///< one file
};

struct ExportOptions {
  ExportLayout layout = ExportLayout::kDiffusers;
  std::optional<at::ScalarType> dtype;  ///< none: as stored
  bool merge = false;      ///< adapters become part of the weights, else a file of their own
  bool verify = false;     ///< read back and compare every tensor before the export appears
  bool overwrite = false;  ///< what is at the output gives way, once the new export is whole
  std::filesystem::path output;
};

/// Throws ConfigError when the output cannot be written as asked: it is there already without
/// `overwrite`, or it is one file for a whole pipeline. Before anything is read.
void check_output(const ExportOptions& options);

/// Writes `source` to `options.output`: a folder, or, for one file, a name ending in
/// `.safetensors`. Throws ConfigError for options that contradict each other or when the output is
/// there already, CheckpointError when what was written reads back differently; nothing is left.
void write_export(const ExportSource& source, const ExportOptions& options);

}  // namespace zoetrope
