#include "zoetrope/train/training_state.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/dcp/flat_range.h"
#include "zoetrope/checkpoint/pickle/value.h"

namespace zoetrope {
namespace {

DcpItem make_item(DcpPath path, std::variant<at::Tensor, PickleValue> value) {
  DcpItem item;
  item.key = dcp_key(path);
  item.path = std::move(path);
  item.value = std::move(value);
  return item;
}

DcpPath weight_path(const std::string& role, const std::string& name) {
  return {fmt::format("roles.{}.transformer", role), name};
}

DcpPath optimizer_path(const RoleOptimizer& optimizer, const std::string& rest) {
  return {fmt::format("optimizers.{}", optimizer.role()), rest};
}

/// `blocks.0.attn1.to_q.weight.exp_avg` -> parameter and `exp_avg`.
std::pair<std::string, std::string> split_moment(const std::string& name) {
  const size_t dot = name.rfind('.');
  return {name.substr(0, dot), name.substr(dot + 1)};
}

std::string moment_key(const ModelBase& model, const std::string& name) {
  const auto [parameter, moment] = split_moment(name);
  return fmt::format("state.transformer.{}.{}", model.checkpoint_name(parameter), moment);
}

/// The keys of one torch.optim.AdamW parameter group, as torch's optimizer state dict has them.
std::vector<std::pair<std::string, PickleValue>> parameter_group(const RoleOptimizer& optimizer) {
  const OptimizerConfig& config = optimizer.config();
  return {{"lr", PickleValue::real(optimizer.learning_rate())},
          {"betas", PickleValue::tuple({PickleValue::real(config.betas.first),
                                        PickleValue::real(config.betas.second)})},
          {"eps", PickleValue::real(AdamWOptions{}.eps)},
          {"weight_decay", PickleValue::real(config.weight_decay)},
          {"amsgrad", PickleValue::boolean(false)},
          {"maximize", PickleValue::boolean(false)},
          {"foreach", PickleValue()},
          {"capturable", PickleValue::boolean(false)},
          {"differentiable", PickleValue::boolean(false)},
          {"fused", PickleValue()},
          {"decoupled_weight_decay", PickleValue::boolean(true)},
          {"initial_lr", PickleValue::real(config.learning_rate)}};
}

/// The state of torch's LambdaLR after as many steps as the optimizer has made.
std::vector<std::pair<std::string, PickleValue>> schedule_state(const RoleOptimizer& optimizer) {
  const int64_t num_updates = optimizer.num_updates();
  return {
      {"base_lrs", PickleValue::list({PickleValue::real(optimizer.config().learning_rate)})},
      {"last_epoch", PickleValue::integer(num_updates)},
      {"_step_count", PickleValue::integer(num_updates + 1)},
      {"_is_initial", PickleValue::boolean(false)},
      {"_get_lr_called_within_step", PickleValue::boolean(false)},
      {"_last_lr", PickleValue::list({PickleValue::real(optimizer.learning_rate())})},
      {"lr_lambdas", PickleValue::list({PickleValue()})},
  };
}

/// A tensor, or this rank's part of one, of the state of a run.
struct StateTensor {
  DcpPath path;
  TensorShard shard;
};

/// Weights and moments of a trained role.
std::vector<StateTensor> role_shards(RoleOptimizer& optimizer) {
  const ModelBase& model = optimizer.model();
  std::vector<StateTensor> tensors;
  for (TensorShard& shard : optimizer.model().parameters().shards()) {
    DcpPath path = weight_path(optimizer.role(), model.checkpoint_name(shard.name));
    tensors.push_back({std::move(path), std::move(shard)});
  }
  for (TensorShard& shard : optimizer.adamw().moments()) {
    DcpPath path = optimizer_path(optimizer, moment_key(model, shard.name));
    tensors.push_back({std::move(path), std::move(shard)});
  }
  return tensors;
}

/// Weights that the method averages itself, as frozen roles of the student's shape.
std::vector<StateTensor> averaged_role_shards(TrainingMethod& method) {
  std::vector<StateTensor> tensors;
  for (auto& [role, shards] : method.averaged_roles()) {
    for (TensorShard& shard : shards) {
      DcpPath path = weight_path(role, method.student().checkpoint_name(shard.name));
      tensors.push_back({std::move(path), std::move(shard)});
    }
  }
  return tensors;
}

/// `student_ema.<parameter>` -> {`student_ema`, the parameter's name in checkpoints}.
DcpPath callback_tensor_path(const ModelBase& student, const std::string& callback,
                             const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return {"callbacks", callback, name};
  return {"callbacks", callback, name.substr(0, dot),
          student.checkpoint_name(name.substr(dot + 1))};
}

std::vector<StateTensor> callback_shards(const ModelBase& student, const std::string& name,
                                         const Callback& callback) {
  std::vector<StateTensor> tensors;
  for (TensorShard& shard : callback.state_dict().shards) {
    DcpPath path = callback_tensor_path(student, name, shard.name);
    tensors.push_back({std::move(path), std::move(shard)});
  }
  return tensors;
}

/// Of tensor-parallel ranks, the first writes what all have whole.
void add_items(const std::vector<StateTensor>& tensors, const Mesh& mesh,
               std::vector<DcpItem>& items) {
  for (const StateTensor& tensor : tensors) {
    if (!tensor.shard.part && mesh.place.tensor != 0) continue;
    for (DcpItem& item : items_of_shard(tensor.path, tensor.shard))
      items.push_back(std::move(item));
  }
}

void read_shards(const DcpFolder& checkpoint, const std::vector<StateTensor>& tensors) {
  for (const auto& [path, shard] : tensors) checkpoint.read_shard(dcp_key(path), shard);
}

/// What torch stores with each parameter beside its tensors, and the schedule.
void add_role_values(const RoleOptimizer& optimizer, ModelBase& model,
                     std::vector<DcpItem>& items) {
  const at::Tensor num_updates =
      at::scalar_tensor(static_cast<double>(optimizer.num_updates()), at::kFloat);
  const auto group = parameter_group(optimizer);
  for (const TensorSpec& spec : model.parameters().specs()) {
    const std::string parameter = model.checkpoint_name(spec.name);
    items.push_back(
        make_item(optimizer_path(optimizer, moment_key(model, spec.name + ".step")), num_updates));
    for (const auto& [key, value] : group) {
      items.push_back(make_item(
          optimizer_path(optimizer, fmt::format("param_groups.transformer.{}.{}", parameter, key)),
          value));
    }
  }
  for (const auto& [key, value] : schedule_state(optimizer)) {
    items.push_back(
        make_item({fmt::format("schedulers.{}", optimizer.role()), "scheduler", key}, value));
  }
}

PickleValue to_pickle(const StateScalar& scalar) {
  struct Visitor {
    PickleValue operator()(bool value) const { return PickleValue::boolean(value); }
    PickleValue operator()(int64_t value) const { return PickleValue::integer(value); }
    PickleValue operator()(double value) const { return PickleValue::real(value); }
    PickleValue operator()(const std::string& value) const { return PickleValue::string(value); }
  };
  return std::visit(Visitor{}, scalar);
}

/// nullopt for what no callback of ours stores.
std::optional<StateScalar> from_pickle(const PickleValue& value) {
  const auto& data = value.node().data;
  if (const auto* boolean = std::get_if<bool>(&data)) return *boolean;
  if (const auto* integer = std::get_if<int64_t>(&data)) return *integer;
  if (const auto* real = std::get_if<double>(&data)) return *real;
  if (const auto* text = std::get_if<std::string>(&data)) return *text;
  return std::nullopt;
}

void add_callback_items(const ModelBase& student, const std::string& name, const Callback& callback,
                        std::vector<DcpItem>& items) {
  const StateDict state = callback.state_dict();
  for (const auto& [tensor_name, tensor] : state.tensors)
    items.push_back(make_item(callback_tensor_path(student, name, tensor_name), tensor));
  for (const auto& [key, value] : state.scalars)
    items.push_back(make_item({"callbacks", name, key}, to_pickle(value)));
}

/// The method's own state, which no checkpoint of FastVideo's has. Each rank has one of its own.
std::string method_key(int64_t rank) {
  return rank == 0 ? "method" : fmt::format("method_rank_{}", rank);
}

void add_method_items(const TrainingMethod& method, const Mesh& mesh, std::vector<DcpItem>& items) {
  const StateDict state = method.state_dict();
  const std::string own = method_key(mesh.rank);
  for (const auto& [name, tensor] : state.tensors) items.push_back(make_item({own, name}, tensor));
  for (const auto& [name, value] : state.scalars)
    items.push_back(make_item({own, name}, to_pickle(value)));
}

StateDict stored_method_state(const DcpFolder& checkpoint, int64_t rank) {
  const std::string prefix = method_key(rank) + ".";
  StateDict state;
  for (const auto& [key, entry] : checkpoint.entries()) {
    if (!key.starts_with(prefix)) continue;
    const std::string name = key.substr(prefix.size());
    if (entry.is_tensor) {
      state.tensors.emplace_back(name, checkpoint.read_tensor(key));
    } else if (const auto scalar = from_pickle(checkpoint.read_value(key))) {
      state.scalars.emplace_back(name, *scalar);
    }
  }
  return state;
}

void restore_method(const DcpFolder& checkpoint, TrainingMethod& method, const Mesh& mesh) {
  const StateDict state = stored_method_state(checkpoint, mesh.rank);
  const bool is_of_other_ranks = state.empty() != stored_method_state(checkpoint, 0).empty() ||
                                 !stored_method_state(checkpoint, mesh.sizes.num_ranks()).empty();
  if (is_of_other_ranks) {
    fail<CheckpointError>(
        "{}: the method's state must be that of {} ranks, but is that of another number; resume "
        "on as many ranks as before",
        checkpoint.path().string(), mesh.sizes.num_ranks());
  }
  if (!state.empty()) method.load_state_dict(state);
}

std::vector<std::string> tensor_faults(const DcpFolder& checkpoint,
                                       const std::vector<StateTensor>& tensors) {
  std::vector<std::string> faults;
  for (const auto& [path, shard] : tensors) {
    const std::string key = dcp_key(path);
    const auto entry = checkpoint.entries().find(key);
    if (entry == checkpoint.entries().end() || !entry->second.is_tensor) {
      faults.push_back(fmt::format("'{}' is missing", key));
    } else if (shard.whole_shape() != entry->second.shape) {
      faults.push_back(fmt::format("'{}' must have shape {}, but has {}", key,
                                   format_shape(shard.whole_shape()),
                                   format_shape(entry->second.shape)));
    }
  }
  return faults;
}

/// Weights that the run does not have: another network, or adapters against a whole network.
void add_unexpected_weights(const DcpFolder& checkpoint, RoleOptimizer& optimizer,
                            std::vector<std::string>& faults) {
  const std::string prefix = fmt::format("roles.{}.transformer.", optimizer.role());
  std::set<std::string> expected;
  for (const TensorSpec& spec : optimizer.model().parameters().specs())
    expected.insert(prefix + optimizer.model().checkpoint_name(spec.name));
  for (const auto& [key, entry] : checkpoint.entries()) {
    if (key.starts_with(prefix) && !expected.contains(key))
      faults.push_back(fmt::format("'{}' is not part of the network", key));
  }
}

void throw_faults(const DcpFolder& checkpoint, const std::vector<std::string>& faults) {
  constexpr size_t kMaxShown = 20;
  if (faults.empty()) return;
  const size_t num_shown = std::min(faults.size(), kMaxShown);
  fail<CheckpointError>(
      "{}: must hold the state of this run, but {} of its tensors do not fit:\n"
      "  {}{}",
      checkpoint.path().string(), faults.size(),
      fmt::join(faults.begin(), faults.begin() + static_cast<int64_t>(num_shown), "\n  "),
      faults.size() > num_shown ? "\n  ..." : "");
}

int64_t read_num_updates(const DcpFolder& checkpoint, RoleOptimizer& optimizer) {
  std::optional<float> first;
  for (const TensorSpec& spec : optimizer.model().parameters().specs()) {
    const std::string key =
        dcp_key(optimizer_path(optimizer, moment_key(optimizer.model(), spec.name + ".step")));
    const auto count = checkpoint.read_tensor(key).item<float>();
    if (first && count != *first) {
      fail<CheckpointError>(
          "{}: all parameters must have had the same number of updates, but '{}' is {} and another "
          "{}",
          checkpoint.path().string(), key, count, *first);
    }
    first = count;
  }
  return static_cast<int64_t>(first.value());
}

void restore_role(const DcpFolder& checkpoint, RoleOptimizer& optimizer) {
  read_shards(checkpoint, role_shards(optimizer));
  optimizer.model().parameters().refresh_values();
  optimizer.adamw().set_num_steps(read_num_updates(checkpoint, optimizer));
}

void restore_callback(const DcpFolder& checkpoint, const std::string& name, Callback& callback,
                      RunState& run) {
  const std::string prefix = fmt::format("callbacks.{}.", name);
  std::set<std::string> parameters;  // tensors of these names are read as shards
  const ModelBase& student = run.method.student();
  for (const TensorSpec& spec : run.method.student().parameters().specs())
    parameters.insert(student.checkpoint_name(spec.name));
  StateDict state;
  for (const auto& [key, entry] : checkpoint.entries()) {
    if (!key.starts_with(prefix)) continue;
    const std::string rest = key.substr(prefix.size());
    if (!entry.is_tensor) {
      if (const auto scalar = from_pickle(checkpoint.read_value(key)))
        state.scalars.emplace_back(rest, *scalar);
    } else if (!parameters.contains(rest.substr(rest.find('.') + 1))) {
      state.tensors.emplace_back(rest, checkpoint.read_tensor(key));
    }
  }
  if (state.empty()) return;
  callback.load_state_dict(state, run);
  try {
    read_shards(checkpoint, callback_shards(run.method.student(), name, callback));
  } catch (const CheckpointError&) {
    std::throw_with_nested(CheckpointError(
        fmt::format("callbacks.{0}: the stored average does not fit; a run of FastVideo on several "
                    "ranks stores only one rank's part of it, and can be resumed without "
                    "callbacks.{0}",
                    name)));
  }
}

/// Of the ranks that hold the same part of a store, one writes it.
bool writes_shards(const ParameterStore& parameters, const Mesh& mesh) {
  return parameters.options().num_shards > 1 ? mesh.place.replicate == 0 : mesh.data->index() == 0;
}

}  // namespace

std::vector<DcpItem> training_state(TrainingMethod& method, const NamedCallbacks& callbacks,
                                    const Mesh& mesh) {
  std::vector<DcpItem> items;
  const bool is_first = mesh.rank == 0;
  const bool writes_student = writes_shards(method.student().parameters(), mesh);
  if (writes_student) add_items(averaged_role_shards(method), mesh, items);
  for (RoleOptimizer* optimizer : method.role_optimizers()) {
    if (writes_shards(optimizer->model().parameters(), mesh))
      add_items(role_shards(*optimizer), mesh, items);
    if (is_first) add_role_values(*optimizer, optimizer->model(), items);
  }
  add_method_items(method, mesh, items);
  for (const auto& [name, callback] : callbacks) {
    if (writes_student) add_items(callback_shards(method.student(), name, *callback), mesh, items);
    if (is_first) add_callback_items(method.student(), name, *callback, items);
  }
  return items;
}

void restore_training_state(const DcpFolder& checkpoint, RunState& run,
                            const NamedCallbacks& callbacks, const Mesh& mesh) {
  std::vector<std::string> faults;
  const auto add_faults = [&](const std::vector<StateTensor>& tensors) {
    for (std::string& fault : tensor_faults(checkpoint, tensors))
      faults.push_back(std::move(fault));
  };
  for (RoleOptimizer* optimizer : run.method.role_optimizers()) {
    add_faults(role_shards(*optimizer));
    add_unexpected_weights(checkpoint, *optimizer, faults);
  }
  add_faults(averaged_role_shards(run.method));
  throw_faults(checkpoint, faults);
  for (RoleOptimizer* optimizer : run.method.role_optimizers())
    restore_role(checkpoint, *optimizer);
  read_shards(checkpoint, averaged_role_shards(run.method));
  run.method.on_averaged_roles_restored();
  restore_method(checkpoint, run.method, mesh);
  for (const auto& [name, callback] : callbacks) restore_callback(checkpoint, name, *callback, run);
}

}  // namespace zoetrope
