#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "zoetrope/plan/plan_report.h"

namespace zoetrope {
namespace {

/// A run with changes, and as overrides those that are not in its layout.
struct Changed {
  RunDescription run;
  std::string overrides;

  void add(const std::string& more) { overrides += (overrides.empty() ? "" : " ") + more; }
};
/// Makes a change, or says that it cannot be made.
using Change = std::function<bool(Changed&)>;

double peak_bytes(const RunDescription& run) {
  const MemoryPlan memory = plan_memory(run);
  return memory.bytes_of(memory.peak());
}

bool checkpoint_activations(Changed& changed) {
  bool found = false;
  for (RoleDescription& role : changed.run.roles) {
    found = found || (role.trainable && !role.checkpointing);
    role.checkpointing = role.trainable;
  }
  if (found) changed.add("--training.model.enable_gradient_checkpointing_type full");
  return found;
}

/// The same ranks, as few copies of the parameters as can be.
bool shard_more(Changed& changed) {
  MeshSizes& mesh = changed.run.mesh;
  if (mesh.replicate % 2 != 0) return false;
  mesh.replicate /= 2;
  mesh.shard *= 2;
  return true;
}

bool shrink_batch(Changed& changed) {
  RunDescription& run = changed.run;
  if (run.batch_size == 1) return false;
  run.accumulation *= run.batch_size;
  run.batch_size = 1;
  changed.add(
      fmt::format("--training.data.train_batch_size 1 --training.loop.gradient_accumulation_steps "
                  "{}",
                  run.accumulation));
  return true;
}

/// Whether the parallel ranks divide what they share.
bool can_be_split(const RunDescription& run) {
  const MeshSizes& mesh = run.mesh;
  return mesh.replicate * mesh.shard % mesh.sequence == 0 &&
         std::all_of(run.roles.begin(), run.roles.end(), [&](const RoleDescription& role) {
           return role.network.num_attention_heads % (mesh.sequence * mesh.tensor) == 0 &&
                  role.network.ffn_dim % mesh.tensor == 0;
         });
}

bool split_sequence(Changed& changed) {
  changed.run.mesh.sequence *= 2;
  return can_be_split(changed.run);
}

/// The same ranks: of two copies of the parameters, or else of two shards, it makes one. Not for
/// CPUs, whose fused blocks cannot be split.
bool split_layers(Changed& changed) {
  if (changed.run.block_kind == BlockKind::kFused) return false;
  MeshSizes& mesh = changed.run.mesh;
  int64_t& halved = mesh.replicate % 2 == 0 ? mesh.replicate : mesh.shard;
  if (halved % 2 != 0) return false;
  halved /= 2;
  mesh.tensor *= 2;
  return can_be_split(changed.run);
}

bool use_adapters(Changed& changed) {
  constexpr int64_t kRank = 64;
  bool found = false;
  for (RoleDescription& role : changed.run.roles) {
    if (!role.trains_network()) continue;
    found = true;
    role.lora = LoraOptions{kRank, static_cast<double>(kRank), {"to_q", "to_k", "to_v", "to_out"}};
    changed.add(fmt::format("--models.{}.lora.enable true --models.{}.lora.rank {}", role.name,
                            role.name, kRank));
  }
  return found;
}

bool double_ranks(Changed& changed) {
  constexpr int64_t kMostRanks = 4096;
  changed.run.mesh.shard *= 2;
  return changed.run.mesh.num_ranks() <= kMostRanks;
}

/// What turns one layout into another. Shards and sequence groups that a config leaves out follow
/// from the other two numbers.
std::string layout_overrides(const MeshSizes& from, const MeshSizes& to) {
  const bool others_follow = from.num_ranks() != to.num_ranks() || from.tensor != to.tensor;
  std::string overrides;
  const auto add = [&](const char* key, int64_t before, int64_t after, bool follows) {
    if (before == after && !(follows && others_follow)) return;
    overrides +=
        fmt::format("{}--training.distributed.{} {}", overrides.empty() ? "" : " ", key, after);
  };
  add("num_gpus", from.num_ranks(), to.num_ranks(), false);
  add("hsdp_replicate_dim", from.replicate, to.replicate, false);
  add("hsdp_shard_dim", from.shard, to.shard, true);
  add("sp_size", from.sequence, to.sequence, true);
  add("tp_size", from.tensor, to.tensor, false);
  return overrides;
}

/// Makes the change where it can be made and saves memory.
bool make(const Change& change, Changed& changed) {
  Changed next = changed;
  if (!change(next) || peak_bytes(next.run) >= peak_bytes(changed.run)) return false;
  changed = std::move(next);
  return true;
}

}  // namespace

std::vector<Suggestion> suggest_changes(const RunDescription& run, const PlanTarget& target) {
  const auto fits = [&](const RunDescription& changed) {
    return peak_bytes(changed) <= target.usable_bytes();
  };
  if (fits(run)) return {};
  const auto as_often_as_needed = [&](const Change& change) -> Change {
    return [&, change](Changed& changed) {
      if (!make(change, changed)) return false;
      while (!fits(changed.run) && make(change, changed)) {
      }
      return true;
    };
  };
  const std::vector<Change> changes = {checkpoint_activations,
                                       as_often_as_needed(shard_more),
                                       shrink_batch,
                                       as_often_as_needed(split_sequence),
                                       as_often_as_needed(split_layers),
                                       as_often_as_needed(double_ranks),
                                       use_adapters};
  std::vector<Suggestion> suggestions;
  const auto suggest = [&](Changed changed) {
    const std::string layout = layout_overrides(run.mesh, changed.run.mesh);
    if (!layout.empty()) changed.add(layout);
    suggestions.push_back({changed.overrides, peak_bytes(changed.run), fits(changed.run)});
    return suggestions.back().fits;
  };
  bool any_fits = false;
  for (const Change& change : changes) {
    Changed changed{run, ""};
    if (make(change, changed)) any_fits = suggest(std::move(changed)) || any_fits;
  }
  if (any_fits) return suggestions;
  Changed all{run, ""};
  for (const Change& change : changes) {
    if (make(change, all) && fits(all.run)) break;
  }
  suggest(std::move(all));
  return suggestions;
}

}  // namespace zoetrope
