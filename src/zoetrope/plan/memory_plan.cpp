#include "zoetrope/plan/memory_plan.h"

#include <algorithm>
#include <map>
#include <set>

namespace zoetrope {
namespace {

constexpr double kFloat = 4;

double sum(const std::vector<MemoryPart>& parts) {
  double bytes = 0;
  for (const MemoryPart& part : parts) bytes += part.bytes;
  return bytes;
}

class Planner {
 public:
  explicit Planner(const RunDescription& run)
      : run_(run),
        c_(static_cast<double>(run.compute_bytes)),
        shards_(static_cast<double>(run.mesh.shard)) {}

  MemoryPlan plan() {
    for (const RoleDescription& role : run_.roles) add_role(role);
    add_caches();
    add_inputs();
    add_gathered();
    walk_through_step();
    add_replica_sums();
    add_rare_moments();
    return std::move(plan_);
  }

 private:
  void always(const std::string& name, const std::string& role, double bytes) {
    if (bytes > 0) plan_.always.push_back({name, role, bytes});
  }

  bool is_sharded() const { return run_.mesh.shard > 1; }

  void add_role(const RoleDescription& role) {
    const auto& averaged = run_.work.averaged_roles;
    const auto base = static_cast<double>(base_size(run_, role).elements()) / shards_;
    if (!role.trains_network()) always("parameters", role.name, c_ * base);
    if (role.trainable) {
      const bool adapters = role.lora.has_value();
      const double kept =
          static_cast<double>(trained_size(run_, role).elements()) / (adapters ? 1.0 : shards_);
      const bool separate = run_.deterministic || (is_sharded() && !adapters);
      always(adapters ? "adapters" : "parameters", role.name,
             (kFloat + (c_ < kFloat ? c_ : 0)) * kept);
      always("gradients", role.name, (separate ? kFloat : c_) * kept);
      // One partial sum for each power of two of micro-batches.
      if (run_.deterministic)
        always("gradients", role.name, kFloat * kept * (run_.accumulation > 1 ? 2 : 1));
      always("optimizer", role.name, 2 * kFloat * kept);
      if (role.has_average) always("EMA", role.name, kFloat * kept);
    }
    if (std::find(averaged.begin(), averaged.end(), role.name) != averaged.end())
      always("EMA", role.name, kFloat * base);
  }

  void add_caches() {
    std::set<std::string> cached;
    for (const config::NetworkPasses& passes : run_.work.passes) {
      if (passes.kind != config::NetworkPasses::Kind::kBlocks || !cached.insert(passes.role).second)
        continue;
      const RoleDescription& role = run_.role(passes.role);
      always("key-value cache", role.name, frames_cache_bytes(role));
      // Of the text, for as long as it stays.
      always("key-value cache", role.name, cache_bytes(role, run_.text_tokens));
    }
  }

  /// Keys and values of tokens in all blocks.
  double cache_bytes(const RoleDescription& role, int64_t num_tokens) const {
    return 2 * c_ *
           static_cast<double>(run_.batch_size * num_tokens * role.network.width() *
                               role.network.num_layers) /
           static_cast<double>(run_.mesh.tensor);
  }

  double frames_cache_bytes(const RoleDescription& role) const {
    return cache_bytes(role, role.cache_frames * run_.tokens_per_frame(role) / run_.mesh.sequence);
  }

  /// Latents of a clip, in fp32.
  double clip_bytes() const {
    return kFloat * static_cast<double>(run_.batch_size * run_.num_frames *
                                        run_.roles.front().network.out_channels * run_.num_rows *
                                        run_.num_columns);
  }

  void add_inputs() {
    // Data, clean, noise, noisy, prediction, target and their kin; the loader's and the run's text.
    constexpr double kNumClips = 8;
    const auto& network = run_.roles.front().network;
    const double text = static_cast<double>(
        run_.batch_size * (network.has_text() ? run_.text_tokens * network.text_dim : 0));
    always("batch", "", kNumClips * clip_bytes() + (kFloat + 2 * c_) * text);
  }

  /// Whole values and gradients of blocks, which the memory pool keeps once it has had to give
  /// them.
  void add_gathered() {
    if (!is_sharded() && !run_.deterministic) return;
    std::map<int64_t, double> block_buffers;  // by elements
    for (const RoleDescription& role : run_.roles) {
      const bool has_gradient = role.trains_network() && is_differentiated(role.name);
      // The gradient of the block before is still being sent when nothing had to be converted.
      const double gradients =
          !has_gradient ? 0 : (run_.reduce_bytes == run_.compute_bytes ? 2 : 1);
      double& buffers = block_buffers[base_size(run_, role).block];
      buffers = std::max(buffers, (is_sharded() ? 2.0 : 0.0) + gradients);
    }
    double bytes = 0;
    for (const auto& [elements, buffers] : block_buffers)
      bytes += buffers * c_ * static_cast<double>(elements);
    always("gathered blocks", "", bytes + c_ * root_elements());
  }

  bool is_differentiated(const std::string& role) const {
    return std::any_of(run_.work.passes.begin(), run_.work.passes.end(), [&](const auto& passes) {
      return passes.role == role && passes.differentiable;
    });
  }

  /// Most elements of roots (values and gradients) at one time: those of a graph are held until its
  /// micro-batch ends.
  double root_elements() const {
    std::set<std::string> held;
    double held_elements = 0;
    double most = 0;
    for (const config::NetworkPasses& passes : run_.work.passes) {
      const RoleDescription& role = run_.role(passes.role);
      const auto root = static_cast<double>(base_size(run_, role).root);
      if (held.contains(role.name)) continue;
      if (passes.differentiable) {
        held.insert(role.name);
        held_elements += ((is_sharded() ? 1 : 0) + (role.trains_network() ? 1 : 0)) * root;
        most = std::max(most, held_elements);
      } else if (is_sharded()) {
        most = std::max(most, held_elements + root);
      }
    }
    return most;
  }

  struct PassBytes {
    double kept = 0;      ///< by all calls, until the backward pass
    double forward = 0;   ///< of one call without a graph
    double backward = 0;  ///< while the gradient of a block is computed
  };

  PassBytes pass_bytes(const config::NetworkPasses& passes) const {
    const RoleDescription& role = run_.role(passes.role);
    const CallShape call = call_shape(run_, passes);
    const ActivationBytes bytes =
        activation_bytes(role.network, call.shape, run_.compute_bytes, run_.block_kind);
    const auto num_layers = static_cast<double>(role.network.num_layers);
    PassBytes result;
    result.forward = bytes.forward + bytes.block_input + bytes.head;
    if (!passes.differentiable) return result;
    // What is computed again reads the past from the cache, which stays while the next clip has a
    // new one, unless later frames take its place.
    const bool rereads = role.checkpointing && role.attention && !role.attention->local_attn_size;
    const double in_each = bytes.block_input + (rereads ? 0.0 : bytes.context) +
                           (role.checkpointing ? 0.0 : bytes.block);
    result.kept = call.num_calls * (num_layers * in_each + bytes.head);
    if (rereads && call.shape.kept_keys > 0) result.kept += frames_cache_bytes(role);
    result.backward = bytes.backward + (role.checkpointing ? bytes.block + bytes.context : 0.0);
    return result;
  }

  void walk_through_step() {
    double kept = 0;
    double backward = 0;
    for (const config::NetworkPasses& passes : run_.work.passes) {
      if (passes.num_passes <= 0) continue;
      const PassBytes bytes = pass_bytes(passes);
      const MemoryPart activations{"activations", passes.role, kept + bytes.forward};
      plan_.moments.push_back({passes.role + "'s " + passes.purpose, {activations}});
      kept += bytes.kept;
      backward = std::max(backward, bytes.backward);
    }
    MemoryMoment moment{"backward pass", {{"activations", "", kept + backward}}};
    if (const double bytes = reduction_bytes(); bytes > 0)
      moment.parts.push_back({"gradients on their way", "", bytes});
    plan_.moments.push_back(std::move(moment));
  }

  /// Whole gradients of a block that a rank sends in a step.
  double num_gradients(const RoleDescription& role) const {
    double calls = 0;
    for (const config::NetworkPasses& passes : run_.work.passes) {
      if (passes.role == role.name && passes.differentiable)
        calls += call_shape(run_, passes).num_calls;
    }
    return calls * static_cast<double>(run_.accumulation);
  }

  /// Of each role's reduction under way (its last one ends with the micro-batch): what is sent
  /// where it had to be converted, what is received, and the sum of all but the step's first.
  double reduction_bytes() const {
    if (!is_sharded()) return 0;
    double bytes = 0;
    for (const RoleDescription& role : run_.roles) {
      if (!role.trains_network() || !is_differentiated(role.name)) continue;
      const NetworkSize size = base_size(run_, role);
      const auto reduce = static_cast<double>(run_.reduce_bytes);
      const double sent = run_.reduce_bytes == run_.compute_bytes ? 0.0 : reduce;
      const double sum = run_.deterministic || num_gradients(role) > 1 ? kFloat / shards_ : 0.0;
      bytes += static_cast<double>(size.block) * (sent + reduce + sum);
    }
    return bytes;
  }

  void add_replica_sums() {
    const auto replicas = static_cast<double>(run_.mesh.replicate);
    double bytes = 0;
    for (const RoleDescription& role : run_.roles) {
      if (!role.trainable || !is_differentiated(role.name)) continue;
      const auto elements = static_cast<double>(trained_size(run_, role).elements());
      const double ranks = role.lora ? replicas * shards_ : replicas;
      const double kept = elements / (role.lora ? 1.0 : shards_);
      if (ranks == 1 || run_.deterministic) continue;
      const bool is_fp32 = c_ == kFloat || (is_sharded() && !role.lora);
      // Received parts and their sum; in another type also the sums of all.
      bytes += kept * ((is_fp32 ? kFloat : c_ + kFloat) + kFloat / ranks);
    }
    if (bytes > 0)
      plan_.moments.push_back({"sum over replicas", {{"gradients on their way", "", bytes}}});
  }

  void add_rare_moments() {
    if (run_.text_encoder_parameters > 0) {
      plan_.rare.push_back(
          {"embedding of prompts",
           {{"text encoder", "", kFloat * static_cast<double>(run_.text_encoder_parameters)}}});
    }
    if (!run_.validates) return;
    // Guided sampling: both conditionings in one batch.
    config::NetworkPasses sampling{.role = "student", .purpose = "sampling", .rows = 2};
    RunDescription one_clip = run_;
    one_clip.batch_size = 1;
    Planner planner(one_clip);
    // The VAE's parameters, and its decoder's last layers: few frames at full size at a time.
    constexpr double kVaeBytes = 0.51e9;
    constexpr double kNumMaps = 6;
    constexpr double kFramesAtOnce = 4;
    constexpr double kChannels = 96;
    constexpr double kPixelsPerLatent = 64;
    const double decoding = kVaeBytes + kNumMaps * kFramesAtOnce * kChannels * kPixelsPerLatent *
                                            kFloat *
                                            static_cast<double>(run_.num_rows * run_.num_columns);
    plan_.rare.push_back({"validation: sampling",
                          {{"activations", "student", planner.pass_bytes(sampling).forward}}});
    plan_.rare.push_back({"validation: decoding", {{"VAE", "", decoding}}});
  }

  const RunDescription& run_;
  double c_;
  double shards_;
  MemoryPlan plan_;
};

const MemoryMoment* largest(const std::vector<MemoryMoment>& moments) {
  const auto found =
      std::max_element(moments.begin(), moments.end(),
                       [](const auto& a, const auto& b) { return sum(a.parts) < sum(b.parts); });
  return found == moments.end() ? nullptr : &*found;
}

}  // namespace

double MemoryPlan::bytes_of(const MemoryMoment& moment) const {
  return sum(always) + sum(moment.parts);
}

const MemoryMoment& MemoryPlan::peak_of_step() const {
  return *largest(moments);
}

const MemoryMoment& MemoryPlan::peak() const {
  const MemoryMoment* other = largest(rare);
  const MemoryMoment& step = peak_of_step();
  return other != nullptr && bytes_of(*other) > bytes_of(step) ? *other : step;
}

MemoryPlan plan_memory(const RunDescription& run) {
  return Planner(run).plan();
}

}  // namespace zoetrope
