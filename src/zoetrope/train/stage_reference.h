// `stage:<name>` and `stage:<name>:ema`: how a role says that it starts from what an earlier stage
// of the run has exported.
#pragma once

#include <optional>
#include <string>

namespace zoetrope {

struct StageReference {
  std::string stage;
  bool averaged = false;  ///< `:ema`, the averaged weights
};

/// Whether the value of an `init_from` means a stage, well-formed or not.
bool is_stage_reference(const std::string& value);

/// Nothing when `value` is neither `stage:<name>` nor `stage:<name>:ema`.
std::optional<StageReference> parse_stage_reference(const std::string& value);

std::string write_stage_reference(const StageReference& reference);

}  // namespace zoetrope
