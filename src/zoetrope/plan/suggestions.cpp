#include <algorithm>
#include <functional>
#include <optional>

#include <fmt/format.h>

#include "zoetrope/plan/plan_report.h"

namespace zoetrope {
namespace {

/// A run with a change, and the change as overrides; nothing where it cannot be made.
struct Changed {
  RunDescription run;
  std::string change;
};
using Change = std::function<std::optional<Changed>(RunDescription)>;

std::optional<Changed> checkpoint_activations(RunDescription run) {
  bool changed = false;
  for (RoleDescription& role : run.roles) {
    changed = changed || (role.trainable && !role.checkpointing);
    role.checkpointing = role.trainable;
  }
  if (!changed) return std::nullopt;
  return Changed{std::move(run), "--training.model.enable_gradient_checkpointing_type full"};
}

/// The same ranks, as few copies of the parameters as can be.
std::optional<Changed> shard_more(RunDescription run) {
  MeshSizes& mesh = run.mesh;
  if (mesh.replicate % 2 != 0) return std::nullopt;
  mesh.replicate /= 2;
  mesh.shard *= 2;
  const std::string change = fmt::format(
      "--training.distributed.hsdp_replicate_dim {} --training.distributed.hsdp_shard_dim {}",
      mesh.replicate, mesh.shard);
  return Changed{std::move(run), change};
}

std::optional<Changed> shrink_batch(RunDescription run) {
  if (run.batch_size == 1) return std::nullopt;
  run.accumulation *= run.batch_size;
  run.batch_size = 1;
  const std::string change = fmt::format(
      "--training.data.train_batch_size 1 --training.loop.gradient_accumulation_steps {}",
      run.accumulation);
  return Changed{std::move(run), change};
}

std::optional<Changed> split_sequence(RunDescription run) {
  const int64_t ranks = 2 * run.mesh.sequence;
  const bool divides =
      run.mesh.replicate * run.mesh.shard % ranks == 0 &&
      std::all_of(run.roles.begin(), run.roles.end(), [&](const RoleDescription& role) {
        return role.network.num_attention_heads % ranks == 0;
      });
  if (!divides) return std::nullopt;
  run.mesh.sequence = ranks;
  return Changed{std::move(run), fmt::format("--training.distributed.sp_size {}", ranks)};
}

std::optional<Changed> use_adapters(RunDescription run) {
  constexpr int64_t kRank = 64;
  std::string change;
  for (RoleDescription& role : run.roles) {
    if (!role.trains_network()) continue;
    role.lora = LoraOptions{kRank, static_cast<double>(kRank), {"to_q", "to_k", "to_v", "to_out"}};
    change += fmt::format("{}--models.{}.lora.enable true --models.{}.lora.rank {}",
                          change.empty() ? "" : " ", role.name, role.name, kRank);
  }
  if (change.empty()) return std::nullopt;
  return Changed{std::move(run), change};
}

std::optional<Changed> double_ranks(RunDescription run) {
  run.mesh.shard *= 2;
  const std::string change =
      fmt::format("--training.distributed.num_gpus {} --training.distributed.hsdp_shard_dim {}",
                  run.mesh.num_ranks() / run.mesh.tensor, run.mesh.shard);
  return Changed{std::move(run), change};
}

/// Repeats a change while it can be made and does not suffice.
Change as_often_as_needed(const Change& change, const PlanTarget& target) {
  return [&target, change](RunDescription run) {
    std::optional<Changed> made = change(std::move(run));
    while (made) {
      const MemoryPlan memory = plan_memory(made->run);
      if (memory.bytes_of(memory.peak()) <= target.usable_bytes()) break;
      std::optional<Changed> next = change(made->run);
      constexpr int64_t kMostRanks = 4096;
      if (!next || next->run.mesh.num_ranks() > kMostRanks) break;
      made = std::move(next);
    }
    return made;
  };
}

}  // namespace

std::vector<Suggestion> suggest_changes(const RunDescription& run, const PlanTarget& target) {
  const auto peak_bytes = [](const RunDescription& changed) {
    const MemoryPlan memory = plan_memory(changed);
    return memory.bytes_of(memory.peak());
  };
  if (peak_bytes(run) <= target.usable_bytes()) return {};
  const std::vector<Change> changes = {checkpoint_activations,
                                       as_often_as_needed(shard_more, target),
                                       shrink_batch,
                                       as_often_as_needed(split_sequence, target),
                                       as_often_as_needed(double_ranks, target),
                                       use_adapters};
  std::vector<Suggestion> suggestions;
  bool any_fits = false;
  for (const Change& change : changes) {
    const std::optional<Changed> changed = change(run);
    if (!changed) continue;
    const double bytes = peak_bytes(changed->run);
    suggestions.push_back({changed->change, bytes, bytes <= target.usable_bytes()});
    any_fits = any_fits || suggestions.back().fits;
  }
  if (any_fits) return suggestions;
  Changed all{run, ""};
  for (const Change& change : changes) {
    std::optional<Changed> changed = change(all.run);
    if (!changed) continue;
    changed->change = all.change + (all.change.empty() ? "" : " ") + changed->change;
    all = std::move(*changed);
    if (peak_bytes(all.run) <= target.usable_bytes()) break;
  }
  const double bytes = peak_bytes(all.run);
  suggestions.push_back({all.change, bytes, bytes <= target.usable_bytes()});
  return suggestions;
}

}  // namespace zoetrope
