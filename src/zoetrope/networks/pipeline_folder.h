// What a Diffusers pipeline folder holds, according to its model_index.json, and what is wrong with
// it. Loads no weights.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zoetrope {

/// One entry of model_index.json that names a class.
struct PipelineComponent {
  std::string name;        ///< `transformer`, `vae`, ...; also the folder's name
  std::string library;     ///< `diffusers`, `transformers`
  std::string class_name;  ///< `WanTransformer3DModel`, ...
};

class PipelineFolder {
 public:
  /// Reads `folder`/model_index.json. Throws CheckpointError when `folder` is not a folder, the
  /// file is missing, or it is not what diffusers writes.
  explicit PipelineFolder(std::filesystem::path folder);

  const std::filesystem::path& path() const { return path_; }
  const std::string& class_name() const { return class_name_; }  ///< of the pipeline
  const std::vector<PipelineComponent>& components() const {
    return components_;
  }  ///< in the order of the file

  bool has(const std::string& component) const;
  /// The folder of `component`. Throws CheckpointError, naming what there is, when the pipeline has
  /// none or when its folder is missing.
  std::filesystem::path component_folder(const std::string& component) const;

  /// Everything that is wrong with the folder, one line each: missing component folders, config
  /// files, tokenizer models and weights, damaged weight files, shards missing. Empty when nothing
  /// is. Reads weight headers, no weights.
  std::vector<std::string> faults() const;

 private:
  std::vector<std::string> faults_of(const PipelineComponent& component) const;

  std::filesystem::path path_;
  std::string class_name_;
  std::vector<PipelineComponent> components_;
};

/// The timestep shift of the folder's own scheduler (`flow_shift`, or `shift` of a flow-match
/// Euler one); 3, that of Wan at 480p, when it says none. Throws CheckpointError for a damaged
/// file.
double pipeline_flow_shift(const std::filesystem::path& pipeline_folder);

}  // namespace zoetrope
