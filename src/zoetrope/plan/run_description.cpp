#include "zoetrope/plan/run_description.h"

#include <algorithm>
#include <numeric>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/wan_transformer/wan_transformer_parameters.h"

namespace zoetrope {
namespace {

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Sum over queries of the keys that they see, by the queries.
double mean_keys(const AttentionRegions& regions) {
  double pairs = 0;
  double queries = 0;
  for (const AttentionRegion& region : regions) {
    const auto count = static_cast<double>(region.queries.size());
    pairs += count * static_cast<double>(region.num_keys());
    queries += count;
  }
  return pairs / queries;
}

int64_t count(const std::vector<IndexRange>& ranges) {
  int64_t total = 0;
  for (const IndexRange& range : ranges) total += range.size();
  return total;
}

/// Keys in frames that a block sees, itself included, in the mean over blocks.
struct SeenFrames {
  double all = 0;
  double past = 0;  ///< without itself
};

SeenFrames seen_by_blocks(const CausalAttention& attention, int64_t num_frames,
                          int64_t block_frames) {
  SeenFrames seen;
  double num_blocks = 0;
  for (int64_t first = 0; first < num_frames; first += block_frames, ++num_blocks) {
    const int64_t end = std::min(first + block_frames, num_frames);
    const auto visible = static_cast<double>(count(visible_frames(attention, end)));
    seen.all += visible;
    seen.past += visible - static_cast<double>(end - first);
  }
  return {seen.all / num_blocks, seen.past / num_blocks};
}

constexpr std::string_view kRoot = "root";

int64_t num_elements(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

/// `specs_for` gives the groups of one of so many ranks that split the layers.
template <class SpecsFor>
NetworkSize network_size(const MeshSizes& mesh, int64_t num_shards, SpecsFor specs_for) {
  NetworkSize size;
  const auto whole = specs_for(1);
  const auto own = specs_for(mesh.tensor);
  for (size_t i = 0; i < whole.size(); ++i) {
    for (size_t j = 0; j < whole[i].parameters.size(); ++j) {
      const TensorSpec& parameter = whole[i].parameters[j];
      const int64_t elements = num_elements(parameter.shape);
      size.parameters += elements;
      const bool is_split = own[i].parameters[j].shape != parameter.shape;
      if (whole[i].name != kRoot && !is_split) size.whole_in_blocks += elements;
    }
  }
  for (const ParameterGroupSpec& group : own) {
    const int64_t elements = padded_elements(group, num_shards);
    if (group.name == kRoot) {
      size.root += elements;
    } else {
      size.blocks += elements;
      size.block = std::max(size.block, elements);
    }
  }
  return size;
}

}  // namespace

const RoleDescription& RunDescription::role(const std::string& name) const {
  const auto found = std::find_if(roles.begin(), roles.end(),
                                  [&](const RoleDescription& role) { return role.name == name; });
  if (found == roles.end()) fail("plan: the run must have a role '{}', but has none", name);
  return *found;
}

int64_t RunDescription::tokens_per_frame(const RoleDescription& role) const {
  return num_rows / role.network.patch_size[1] * (num_columns / role.network.patch_size[2]);
}

NetworkSize base_size(const RunDescription& run, const RoleDescription& role) {
  return network_size(run.mesh, run.mesh.shard, [&](int64_t tensor_ranks) {
    return wan_transformer_parameter_specs(role.network, tensor_ranks);
  });
}

NetworkSize trained_size(const RunDescription& run, const RoleDescription& role) {
  if (!role.trainable) fail("plan: the role '{}' must be trained, but is frozen", role.name);
  if (!role.lora) return base_size(run, role);
  return network_size(run.mesh, 1, [&](int64_t tensor_ranks) {
    return lora_parameter_specs(wan_transformer_parameter_specs(role.network, tensor_ranks),
                                *role.lora);
  });
}

CallShape call_shape(const RunDescription& run, const config::NetworkPasses& passes) {
  using Kind = config::NetworkPasses::Kind;
  const RoleDescription& role = run.role(passes.role);
  const int64_t per_frame = run.tokens_per_frame(role);
  const int64_t frames = passes.num_frames.value_or(run.num_frames) / role.network.patch_size[0];
  CallShape call;
  call.num_calls = passes.num_passes;
  PassShape& shape = call.shape;
  shape.batch = run.batch_size * passes.rows;
  shape.sequence_ranks = run.mesh.sequence;
  shape.tensor_ranks = run.mesh.tensor;
  shape.text_tokens = role.network.has_text() ? run.text_tokens : 0;
  shape.image_tokens = role.network.image_dim ? run.image_tokens : 0;
  shape.time_groups = role.attention ? frames : 1;
  int64_t tokens = frames * per_frame;
  shape.keys_per_query = static_cast<double>(tokens);
  if (passes.kind == Kind::kTeacherForced) {
    tokens *= 2;
    shape.time_groups *= 2;
    if (role.attention)
      shape.keys_per_query = mean_keys(teacher_forcing_regions(*role.attention, frames, per_frame));
  } else if (passes.kind == Kind::kBlocks && role.attention) {
    const int64_t block_frames = std::min(passes.block_frames, frames);
    const SeenFrames seen = seen_by_blocks(*role.attention, frames, block_frames);
    const int64_t num_blocks = (frames + block_frames - 1) / block_frames;
    call.num_calls *= static_cast<double>(num_blocks);
    tokens = block_frames * per_frame;
    shape.time_groups = block_frames;
    shape.keys_per_query = seen.all * static_cast<double>(per_frame);
    if (passes.differentiable)
      shape.kept_keys =
          static_cast<int64_t>(seen.past * static_cast<double>(per_frame)) / run.mesh.sequence;
  } else if (role.attention) {
    shape.keys_per_query = mean_keys(block_causal_regions(*role.attention, frames, per_frame));
  }
  shape.num_tokens = round_up(tokens, run.mesh.sequence) / run.mesh.sequence;
  // Rows never cross from one timestep's tokens to the next one's.
  shape.modulation_rows =
      run.mesh.sequence == 1 || shape.time_groups == 1
          ? shape.time_groups
          : shape.num_tokens / std::gcd(tokens / shape.time_groups, shape.num_tokens);
  return call;
}

}  // namespace zoetrope
