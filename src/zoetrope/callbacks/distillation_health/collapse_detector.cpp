#include "zoetrope/callbacks/distillation_health/collapse_detector.h"

#include <algorithm>

#include <fmt/format.h>

namespace zoetrope {
namespace {

constexpr std::string_view kBest = "_best";
constexpr std::string_view kSickChecks = "_sick_checks";

}  // namespace

bool CollapseDetector::is_sick(const VitalSign& sign, const History& history, int64_t step) const {
  const bool above = sign.sick == VitalSign::Sick::kAbove;
  if (above ? sign.value <= sign.limit : sign.value >= sign.limit) return false;
  if (step > options_.warmup_steps) return true;
  if (!history.best) return false;
  const double ratio = options_.collapse_ratio;
  return above ? *history.best < ratio * sign.value : sign.value < ratio * *history.best;
}

std::vector<std::string> CollapseDetector::check(int64_t step,
                                                 const std::vector<VitalSign>& signs) {
  std::vector<std::string> complaints;
  for (const VitalSign& sign : signs) {
    History& history = histories_[sign.name];
    history.num_sick_checks = is_sick(sign, history, step) ? history.num_sick_checks + 1 : 0;
    const double best = history.best.value_or(sign.value);
    history.best = sign.sick == VitalSign::Sick::kAbove ? std::min(best, sign.value)
                                                        : std::max(best, sign.value);
    if (history.num_sick_checks < options_.num_checks) continue;
    complaints.push_back(fmt::format(
        "{} ({} is {:.3g}, a healthy student's is {} {:.3g})", sign.complaint, sign.name,
        sign.value, sign.sick == VitalSign::Sick::kBelow ? "above" : "below", sign.limit));
  }
  return complaints;
}

std::vector<std::pair<std::string, StateScalar>> CollapseDetector::state() const {
  std::vector<std::pair<std::string, StateScalar>> state;
  for (const auto& [name, history] : histories_) {
    if (history.best) state.emplace_back(name + std::string(kBest), *history.best);
    state.emplace_back(name + std::string(kSickChecks), history.num_sick_checks);
  }
  return state;
}

void CollapseDetector::restore(const std::vector<std::pair<std::string, StateScalar>>& state) {
  for (const auto& [key, value] : state) {
    if (key.ends_with(kBest)) {
      histories_[key.substr(0, key.size() - kBest.size())].best = std::get<double>(value);
    } else if (key.ends_with(kSickChecks)) {
      histories_[key.substr(0, key.size() - kSickChecks.size())].num_sick_checks =
          std::get<int64_t>(value);
    }
  }
}

}  // namespace zoetrope
