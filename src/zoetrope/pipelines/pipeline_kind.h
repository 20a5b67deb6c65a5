// The ways in which Wan networks sample videos, by the names that configs and commands use.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace zoetrope {

/// What follows the last dot of `target`.
std::string class_name(const std::string& target);

struct PipelineKind {
  std::string name;  ///< as `zoetrope sample --pipeline` has it
  /// Dotted names of pipeline classes, that of text to video first; those of models that take
  /// images and actions sample in the same way.
  std::vector<std::string> fastvideo_targets;
  bool few_step = false;  ///< a distilled student, at its own steps and without guidance
  bool causal = false;    ///< block by block with a key-value cache

  /// The class name of the first target.
  std::string class_name() const { return zoetrope::class_name(fastvideo_targets.front()); }
};

/// wan, wan-dmd, wan-causal, wan-causal-dmd.
const std::vector<PipelineKind>& pipeline_kinds();

/// The kind that is called `text` by any of its names. Throws ConfigError with all names when there
/// is none.
const PipelineKind& pipeline_kind(const std::string& text);

}  // namespace zoetrope
