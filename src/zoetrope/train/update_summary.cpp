#include "zoetrope/train/update_summary.h"

#include <fmt/format.h>

namespace zoetrope {
namespace {

std::string ordinal(int64_t number) {
  const int64_t last_two = number % 100;
  const bool is_teen = last_two >= 11 && last_two <= 13;
  constexpr const char* kSuffixes[] = {"th", "st", "nd", "rd"};
  const int64_t last = number % 10;
  return fmt::format("{}{}", number, kSuffixes[is_teen || last > 3 ? 0 : last]);
}

/// Methods that train a critic too say how often the student has its turn.
std::string student_turns(const config::Component& method) {
  const config::Node written = config::TargetTable::write(method);
  const config::Node* interval = written.find("generator_update_interval");
  if (interval == nullptr) return "the student updates at every step";
  const int64_t steps = std::stoll(interval->text());
  if (steps <= 1) return "the student and the critic update at every step";
  return fmt::format("the student updates at every {} step, the critic at every step",
                     ordinal(steps));
}

}  // namespace

std::string describe_updates(const RunConfig& run) {
  const TrainingConfig& training = run.training;
  const int64_t batch = training.data.train_batch_size;
  const int64_t accumulation = training.loop.gradient_accumulation_steps;
  // Ranks that share a sample's tokens, or the layers that it goes through.
  const int64_t group_size =
      training.distributed.sp_size.value_or(1) * training.distributed.tp_size;
  const int64_t num_groups = training.distributed.num_gpus / group_size;
  const std::string ranks = group_size > 1
                                ? fmt::format("{} group{} of {} ranks", num_groups,
                                              num_groups == 1 ? "" : "s", group_size)
                                : fmt::format("{} rank{}", num_groups, num_groups == 1 ? "" : "s");
  const int64_t num_samples = batch * accumulation * num_groups;
  return fmt::format("{} sample{} an update = batch {} x accumulation {} x {}; {}", num_samples,
                     num_samples == 1 ? "" : "s", batch, accumulation, ranks,
                     student_turns(run.method));
}

}  // namespace zoetrope
