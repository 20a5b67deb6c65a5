#include "zoetrope/train/stage_reference.h"

namespace zoetrope {
namespace {

constexpr std::string_view kPrefix = "stage:";
constexpr std::string_view kAveraged = ":ema";

}  // namespace

bool is_stage_reference(const std::string& value) {
  return value.starts_with(kPrefix);
}

std::optional<StageReference> parse_stage_reference(const std::string& value) {
  if (!is_stage_reference(value)) return std::nullopt;
  StageReference reference{value.substr(kPrefix.size())};
  reference.averaged = reference.stage.ends_with(kAveraged);
  if (reference.averaged) reference.stage.resize(reference.stage.size() - kAveraged.size());
  if (reference.stage.empty() || reference.stage.find(':') != std::string::npos)
    return std::nullopt;
  return reference;
}

std::string write_stage_reference(const StageReference& reference) {
  return std::string(kPrefix) + reference.stage +
         std::string(reference.averaged ? kAveraged : std::string_view());
}

}  // namespace zoetrope
