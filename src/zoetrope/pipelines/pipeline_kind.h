// The ways in which Wan networks sample videos, by the names that configs and commands use.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace zoetrope {

struct PipelineKind {
  std::string name;              ///< as `zoetrope sample --pipeline` has it
  std::string fastvideo_target;  ///< dotted name of the pipeline class
  bool few_step = false;         ///< a distilled student, at its own steps and without guidance
  bool causal = false;           ///< block by block with a key-value cache

  /// The class name alone.
  std::string class_name() const {
    return fastvideo_target.substr(fastvideo_target.rfind('.') + 1);
  }
};

/// wan, wan-dmd, wan-causal, wan-causal-dmd.
const std::vector<PipelineKind>& pipeline_kinds();

/// The kind that is called `text` by any of its names. Throws ConfigError with all names when there
/// is none.
const PipelineKind& pipeline_kind(const std::string& text);

}  // namespace zoetrope
