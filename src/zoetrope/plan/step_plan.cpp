#include "zoetrope/plan/step_plan.h"

#include <algorithm>
#include <map>

namespace zoetrope {
namespace {

class StepPlanner {
 public:
  StepPlanner(const RunDescription& run, int64_t ranks_per_machine)
      : run_(run), ranks_per_machine_(ranks_per_machine) {}

  StepPlan plan() {
    plan_.num_samples = run_.batch_size * run_.accumulation * run_.mesh.num_data_groups();
    plan_.tokens_per_sample = run_.num_frames * run_.tokens_per_frame(run_.roles.front());
    for (const config::NetworkPasses& passes : run_.work.passes) add_passes(passes);
    for (const RoleDescription& role : run_.roles) add_updates(role);
    return std::move(plan_);
  }

 private:
  /// Of `passes` in a step: micro-batches, and the share of the steps that make them.
  double times_per_step(const config::NetworkPasses& passes) const {
    return static_cast<double>(run_.accumulation) / static_cast<double>(passes.every_steps);
  }

  void add_passes(const config::NetworkPasses& passes) {
    if (passes.num_passes <= 0) return;
    const RoleDescription& role = run_.role(passes.role);
    const CallShape call = call_shape(run_, passes);
    const double calls = call.num_calls * times_per_step(passes);
    double forwards = 1;
    if (passes.differentiable) {
      // The gradient of inputs, that of weights, and the recomputation.
      forwards += 1 + (role.trains_network() ? 1 : 0) + (role.checkpointing ? 1 : 0);
    }
    plan_.passes.push_back({passes.role, passes.purpose, calls,
                            calls * static_cast<double>(call.shape.rows()),
                            calls * forwards * forward_flops(role.network, call.shape)});
    add_gathers(passes, role, calls);
    add_sequence_exchange(passes, role, call.shape, calls);
    add_tensor_sums(passes, role, call.shape, calls);
  }

  void add_gathers(const config::NetworkPasses& passes, const RoleDescription& role, double calls) {
    const int64_t shards = run_.mesh.shard;
    if (shards == 1) return;
    const NetworkSize size = base_size(run_, role);
    const auto blocks = static_cast<double>(size.blocks);
    const auto root = static_cast<double>(size.root);
    const double sent = static_cast<double>(shards - 1) / static_cast<double>(shards);
    double elements = calls * (blocks + (1 - held_share(passes)) * root);
    if (passes.differentiable) {
      // Blocks are gathered once more for the backward pass; the root is held for a micro-batch.
      const double micro_batches = times_per_step(passes);
      elements = 2 * calls * blocks + micro_batches * root;
      held_every_steps_[role.name] = passes.every_steps;
      if (role.trains_network()) {
        add("reduce-scatter of gradients", "shard", shards,
            sent * static_cast<double>(run_.reduce_bytes) *
                ((run_.deterministic ? micro_batches : calls) * blocks + micro_batches * root),
            true);
      }
    }
    add("all-gather of parameters", "shard", shards,
        sent * static_cast<double>(run_.compute_bytes) * elements, true);
  }

  /// The share of these passes at which the root is there from a pass with a graph before.
  double held_share(const config::NetworkPasses& passes) const {
    const auto held = held_every_steps_.find(passes.role);
    if (held == held_every_steps_.end()) return 0;
    return std::min(1.0,
                    static_cast<double>(passes.every_steps) / static_cast<double>(held->second));
  }

  /// Forward passes through the blocks, the recomputation included, for each call.
  static double block_forwards(const config::NetworkPasses& passes, const RoleDescription& role) {
    return passes.differentiable && role.checkpointing ? 2 : 1;
  }

  /// Queries, keys, values and outputs change between parts of the sequence and parts of the heads;
  /// predictions are gathered.
  void add_sequence_exchange(const config::NetworkPasses& passes, const RoleDescription& role,
                             const PassShape& shape, double calls) {
    const int64_t ranks = run_.mesh.sequence;
    if (ranks == 1) return;
    const WanTransformerConfig& network = role.network;
    const auto others = static_cast<double>(ranks - 1);
    const auto row_bytes = static_cast<double>(run_.compute_bytes * shape.rows());
    const double exchanged = 4 * row_bytes *
                             static_cast<double>(network.width() * network.num_layers) /
                             static_cast<double>(run_.mesh.tensor);
    const double num_passes = block_forwards(passes, role) + (passes.differentiable ? 1 : 0);
    add("all-to-all of heads", "sequence", ranks,
        calls * num_passes * exchanged * others / static_cast<double>(ranks), false);
    add("all-gather of predictions", "sequence", ranks,
        calls * row_bytes * static_cast<double>(network.out_channels * network.patch_elements()) *
            others,
        false);
  }

  /// What leaves split layers is summed, as are the gradients of what enters them (but for the text
  /// of a frozen network) and of their adapters' whole matrices, and in fp32 the squares of queries
  /// and keys.
  void add_tensor_sums(const config::NetworkPasses& passes, const RoleDescription& role,
                       const PassShape& shape, double calls) {
    const int64_t ranks = run_.mesh.tensor;
    if (ranks == 1) return;
    const auto num_leaving = static_cast<double>(3 * shape.rows());
    const auto num_entering =
        num_leaving + static_cast<double>(shape.batch * (shape.text_tokens + shape.image_tokens));
    const auto token_bytes = static_cast<double>(run_.compute_bytes * role.network.width());
    const double norms = kFloat * num_entering;
    const double forward = token_bytes * num_leaving + norms;
    const double backward =
        token_bytes * (role.trains_network() ? num_entering : num_leaving) + norms;
    double bytes =
        static_cast<double>(role.network.num_layers) *
        (block_forwards(passes, role) * forward + (passes.differentiable ? backward : 0.0));
    if (passes.differentiable && role.lora) {
      bytes += static_cast<double>(run_.compute_bytes * trained_size(run_, role).whole_in_blocks);
    }
    add("all-reduce of split layers", "tensor", ranks,
        calls * bytes * 2 * static_cast<double>(ranks - 1) / static_cast<double>(ranks), false);
  }

  void add_updates(const RoleDescription& role) {
    const auto last = std::find_if(
        run_.work.passes.rbegin(), run_.work.passes.rend(),
        [&](const auto& passes) { return passes.role == role.name && passes.differentiable; });
    if (!role.trainable) return;
    const NetworkSize size = trained_size(run_, role);
    // Masters and two moments; the average of the student.
    plan_.checkpoint_bytes +=
        kFloat * static_cast<double>(size.parameters) * (3 + (role.has_average ? 1 : 0));
    if (last == run_.work.passes.rend()) return;
    const int64_t ranks = run_.mesh.replicate * (role.lora ? run_.mesh.shard : 1);
    if (ranks == 1) return;
    const bool is_sharded = run_.mesh.shard > 1 && !role.lora;
    const double kept = static_cast<double>(size.elements()) /
                        static_cast<double>(is_sharded ? run_.mesh.shard : 1);
    const double sent = is_sharded ? kFloat : static_cast<double>(run_.compute_bytes);
    const double updates = (run_.deterministic ? static_cast<double>(run_.accumulation) : 1.0) /
                           static_cast<double>(last->every_steps);
    add("all-reduce of gradients", role.lora ? "data" : "replicate", ranks,
        updates * kept * (sent + kFloat) * static_cast<double>(ranks - 1) /
            static_cast<double>(ranks),
        is_sharded == false);
  }

  /// First to last rank of a group, in ranks of the run.
  int64_t span(const std::string& group, int64_t size) const {
    const int64_t tensor = group == "tensor" ? 1 : run_.mesh.tensor;
    return size * (group == "replicate" ? run_.mesh.shard * tensor : tensor);
  }

  void add(const std::string& operation, const std::string& group, int64_t group_size, double bytes,
           bool overlaps) {
    for (LinkTraffic& traffic : plan_.traffic) {
      if (traffic.operation != operation || traffic.group != group) continue;
      traffic.bytes += bytes;
      return;
    }
    plan_.traffic.push_back({operation, group, group_size,
                             span(group, group_size) > ranks_per_machine_, overlaps, bytes});
  }

  static constexpr double kFloat = 4;
  const RunDescription& run_;
  int64_t ranks_per_machine_;
  StepPlan plan_;
  std::map<std::string, int64_t> held_every_steps_;  ///< by role, of what came so far
};

}  // namespace

double StepPlan::flops() const {
  double total = 0;
  for (const PassWork& work : passes) total += work.flops;
  return total;
}

StepPlan plan_step(const RunDescription& run, int64_t ranks_per_machine) {
  return StepPlanner(run, ranks_per_machine).plan();
}

double TimePlan::step_sec() const {
  return std::max(compute_sec, overlapped_sec) + exposed_sec;
}

TimePlan plan_time(const RunDescription& run, const StepPlan& step, const Gpu& gpu,
                   const TimeAssumptions& assumptions) {
  constexpr double kTera = 1e12;
  constexpr double kGiga = 1e9;
  constexpr int64_t kBf16Bytes = 2;
  const double peak = run.compute_bytes == kBf16Bytes ? gpu.bf16_tflops : gpu.tf32_tflops;
  TimePlan time;
  time.compute_sec = step.flops() / (peak * kTera * assumptions.utilization);
  for (const LinkTraffic& traffic : step.traffic) {
    const double nominal = traffic.between_machines ? gpu.network_gb_per_sec : gpu.local_gb_per_sec;
    const double sec = traffic.bytes / (nominal * kGiga * assumptions.link_efficiency);
    (traffic.overlaps ? time.overlapped_sec : time.exposed_sec) += sec;
  }
  return time;
}

}  // namespace zoetrope
