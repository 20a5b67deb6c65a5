#include "zoetrope/methods/requirements.h"

#include "zoetrope/base/error.h"
#include "zoetrope/config/location_of.h"

namespace zoetrope {
namespace {

std::string block_size_fault(int64_t student, int64_t got) {
  return fmt::format("must be the student's num_frames_per_block, which is {}, but got {}", student,
                     got);
}

std::string student_blocks_fault(const std::string& role, int64_t student, int64_t other) {
  return fmt::format(
      "models.{0} must have the num_frames_per_block of models.student, which is "
      "{1}, but has {2}",
      role, student, other);
}

}  // namespace

void require_positive_learning_rate(const OptimizerConfig& optimizer, const std::string& method) {
  if (optimizer.learning_rate > 0.0) return;
  fail<ConfigError>("training.optimizer.learning_rate: {} needs a value above 0, but got {}",
                    method, optimizer.learning_rate);
}

CausalModelBase& require_causal(ModelBase& model, const std::string& role,
                                const std::string& method) {
  if (auto* causal = dynamic_cast<CausalModelBase*>(&model)) return *causal;
  fail<ConfigError>(
      "models.{}: {} needs a causal model, but this one is bidirectional; use WanCausalModel", role,
      method);
}

void require_block_size(ModelBase& model, int64_t num_frames, const std::string& key) {
  const auto* causal = dynamic_cast<const CausalModelBase*>(&model);
  if (causal == nullptr || causal->num_frames_per_block() == num_frames) return;
  fail<ConfigError>("{}: {}", key, block_size_fault(causal->num_frames_per_block(), num_frames));
}

void require_blocks_of_student(const CausalModelBase& student, const CausalModelBase& model,
                               const std::string& role) {
  if (student.num_frames_per_block() == model.num_frames_per_block()) return;
  fail<ConfigError>("method: {}", student_blocks_fault(role, student.num_frames_per_block(),
                                                       model.num_frames_per_block()));
}

void refuse_key(const config::Node& method, const std::string& key,
                const config::ReadContext& context, const std::string& message) {
  context.issues.add(config::location_of(method, key), config::child_path(context.path, key),
                     message);
}

void check_timestep_range(double min_timestep_ratio, double max_timestep_ratio,
                          const config::Node& method, const config::ReadContext& context) {
  if (min_timestep_ratio <= max_timestep_ratio) return;
  refuse_key(method, "min_timestep_ratio", context,
             fmt::format("must be at most max_timestep_ratio, which is {}, but got {}",
                         max_timestep_ratio, min_timestep_ratio));
}

void check_block_size(const std::string& key, int64_t num_frames, const config::RunFacts& run,
                      const config::Node& method, const config::ReadContext& context) {
  const auto student = run.frames_per_block.find("student");
  if (student == run.frames_per_block.end() || student->second == num_frames) return;
  refuse_key(method, key, context, block_size_fault(student->second, num_frames));
}

void check_blocks_of_student(const std::string& role, const config::RunFacts& run,
                             const config::Node& method, const config::ReadContext& context) {
  const auto student = run.frames_per_block.find("student");
  const auto other = run.frames_per_block.find(role);
  const auto end = run.frames_per_block.end();
  if (student == end || other == end || student->second == other->second) return;
  refuse(method, context, student_blocks_fault(role, student->second, other->second));
}

void check_has_latents(const config::RunFacts& run, const config::Node& method,
                       const config::ReadContext& context) {
  if (run.has_latents) return;
  refuse(method, context,
         "must have data with videos, since it trains on their latents, but "
         "training.data.preprocessed_data_type is text_only");
}

}  // namespace zoetrope
