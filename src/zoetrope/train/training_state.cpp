#include "zoetrope/train/training_state.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
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

/// The tensors of a trained role: weights, moments and the count of updates.
std::vector<DcpItem> role_tensors(RoleOptimizer& optimizer) {
  const ModelBase& model = optimizer.model();
  std::vector<DcpItem> items;
  for (const auto& [name, tensor] : optimizer.model().parameters().tensors())
    items.push_back(make_item(weight_path(optimizer.role(), model.checkpoint_name(name)), tensor));
  for (const auto& [name, tensor] : optimizer.adamw().state_dict()) {
    if (name == "step") continue;  // stored with each parameter, as torch does
    items.push_back(make_item(optimizer_path(optimizer, moment_key(model, name)), tensor));
  }
  const at::Tensor num_updates =
      at::scalar_tensor(static_cast<double>(optimizer.num_updates()), at::kFloat);
  for (const TensorSpec& spec : optimizer.model().parameters().specs()) {
    items.push_back(
        make_item(optimizer_path(optimizer, moment_key(model, spec.name + ".step")), num_updates));
  }
  return items;
}

/// Weights that the method averages itself, as frozen roles of the student's shape.
std::vector<DcpItem> averaged_role_tensors(TrainingMethod& method) {
  std::vector<DcpItem> items;
  for (const auto& [role, weights] : method.averaged_roles()) {
    for (const auto& [name, tensor] : weights)
      items.push_back(make_item(weight_path(role, method.student().checkpoint_name(name)), tensor));
  }
  return items;
}

void add_role_values(const RoleOptimizer& optimizer, ModelBase& model,
                     std::vector<DcpItem>& items) {
  const auto group = parameter_group(optimizer);
  for (const TensorSpec& spec : model.parameters().specs()) {
    const std::string parameter = model.checkpoint_name(spec.name);
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

/// `student_ema.<parameter>` -> {`student_ema`, the parameter's name in checkpoints}.
DcpPath callback_tensor_path(const ModelBase& student, const std::string& callback,
                             const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return {"callbacks", callback, name};
  return {"callbacks", callback, name.substr(0, dot),
          student.checkpoint_name(name.substr(dot + 1))};
}

void add_callback_items(const ModelBase& student, const std::string& name, const Callback& callback,
                        std::vector<DcpItem>& items) {
  const StateDict state = callback.state_dict();
  for (const auto& [tensor_name, tensor] : state.tensors)
    items.push_back(make_item(callback_tensor_path(student, name, tensor_name), tensor));
  for (const auto& [key, value] : state.scalars)
    items.push_back(make_item({"callbacks", name, key}, to_pickle(value)));
}

/// The method's own state, which no checkpoint of FastVideo's has.
constexpr const char* kMethod = "method";

void add_method_items(const TrainingMethod& method, std::vector<DcpItem>& items) {
  const StateDict state = method.state_dict();
  for (const auto& [name, tensor] : state.tensors)
    items.push_back(make_item({kMethod, name}, tensor));
  for (const auto& [name, value] : state.scalars)
    items.push_back(make_item({kMethod, name}, to_pickle(value)));
}

void restore_method(const DcpFolder& checkpoint, TrainingMethod& method) {
  const std::string prefix = fmt::format("{}.", kMethod);
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
  if (!state.empty()) method.load_state_dict(state);
}

std::vector<std::string> tensor_faults(const DcpFolder& checkpoint,
                                       const std::vector<DcpItem>& items) {
  std::vector<std::string> faults;
  for (const DcpItem& item : items) {
    const auto& tensor = std::get<at::Tensor>(item.value);
    const auto entry = checkpoint.entries().find(item.key);
    if (entry == checkpoint.entries().end() || !entry->second.is_tensor) {
      faults.push_back(fmt::format("'{}' is missing", item.key));
    } else if (tensor.sizes() != at::IntArrayRef(entry->second.shape)) {
      faults.push_back(fmt::format("'{}' must have shape {}, but has {}", item.key,
                                   format_shape(tensor.sizes()),
                                   format_shape(entry->second.shape)));
    }
  }
  return faults;
}

/// Weights that the run does not have: another network, or adapters against a whole network.
void add_unexpected_weights(const DcpFolder& checkpoint, const RoleOptimizer& optimizer,
                            const std::vector<DcpItem>& items, std::vector<std::string>& faults) {
  const std::string prefix = fmt::format("roles.{}.transformer.", optimizer.role());
  std::set<std::string> expected;
  for (const DcpItem& item : items) expected.insert(item.key);
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
  ModelBase& model = optimizer.model();
  NamedTensors weights;
  for (const TensorSpec& spec : model.parameters().specs()) {
    const std::string key =
        dcp_key(weight_path(optimizer.role(), model.checkpoint_name(spec.name)));
    weights.emplace_back(spec.name, checkpoint.read_tensor(key));
  }
  model.parameters().load(weights);
  NamedTensors moments;
  for (const auto& [name, tensor] : optimizer.adamw().state_dict()) {
    if (name == "step") continue;
    const std::string key = dcp_key(optimizer_path(optimizer, moment_key(model, name)));
    moments.emplace_back(name, checkpoint.read_tensor(key));
  }
  moments.emplace_back("step",
                       at::scalar_tensor(read_num_updates(checkpoint, optimizer), at::kLong));
  optimizer.adamw().load_state_dict(moments);
}

void restore_averaged_roles(const DcpFolder& checkpoint, TrainingMethod& method) {
  for (const auto& [role, weights] : method.averaged_roles()) {
    NamedTensors stored;
    for (const auto& [name, tensor] : weights) {
      const std::string key = dcp_key(weight_path(role, method.student().checkpoint_name(name)));
      stored.emplace_back(name, checkpoint.read_tensor(key));
    }
    method.load_averaged_role(role, stored);
  }
}

void restore_callback(const DcpFolder& checkpoint, const std::string& name, Callback& callback,
                      RunState& run) {
  // Tensor names in checkpoints are the model's own; the callback knows its parameters' names.
  std::vector<std::pair<std::string, std::string>> parameter_names;
  for (const TensorSpec& spec : run.method.student().parameters().specs())
    parameter_names.emplace_back(run.method.student().checkpoint_name(spec.name), spec.name);
  std::sort(parameter_names.begin(), parameter_names.end());
  StateDict state;
  for (const auto& [key, entry] : checkpoint.entries()) {
    const std::string prefix = fmt::format("callbacks.{}.", name);
    if (!key.starts_with(prefix)) continue;
    const std::string rest = key.substr(prefix.size());
    if (!entry.is_tensor) {
      if (const auto scalar = from_pickle(checkpoint.read_value(key)))
        state.scalars.emplace_back(rest, *scalar);
      continue;
    }
    const size_t dot = rest.find('.');
    const std::string stored = dot == std::string::npos ? rest : rest.substr(dot + 1);
    const auto found = std::lower_bound(
        parameter_names.begin(), parameter_names.end(), stored,
        [](const auto& known, const std::string& wanted) { return known.first < wanted; });
    const bool known = found != parameter_names.end() && found->first == stored;
    const std::string own = known ? rest.substr(0, dot + 1) + found->second : rest;
    state.tensors.emplace_back(own, checkpoint.read_tensor(key));
  }
  if (!state.empty()) callback.load_state_dict(state, run);
}

}  // namespace

std::vector<DcpItem> training_state(TrainingMethod& method, const NamedCallbacks& callbacks) {
  std::vector<DcpItem> items = averaged_role_tensors(method);
  for (RoleOptimizer* optimizer : method.role_optimizers()) {
    for (DcpItem& item : role_tensors(*optimizer)) items.push_back(std::move(item));
    add_role_values(*optimizer, optimizer->model(), items);
  }
  add_method_items(method, items);
  for (const auto& [name, callback] : callbacks)
    add_callback_items(method.student(), name, *callback, items);
  return items;
}

void restore_training_state(const DcpFolder& checkpoint, RunState& run,
                            const NamedCallbacks& callbacks) {
  std::vector<std::string> faults;
  for (RoleOptimizer* optimizer : run.method.role_optimizers()) {
    const std::vector<DcpItem> items = role_tensors(*optimizer);
    for (std::string& fault : tensor_faults(checkpoint, items)) faults.push_back(std::move(fault));
    add_unexpected_weights(checkpoint, *optimizer, items, faults);
  }
  for (std::string& fault : tensor_faults(checkpoint, averaged_role_tensors(run.method)))
    faults.push_back(std::move(fault));
  throw_faults(checkpoint, faults);
  for (RoleOptimizer* optimizer : run.method.role_optimizers())
    restore_role(checkpoint, *optimizer);
  restore_averaged_roles(checkpoint, run.method);
  restore_method(checkpoint, run.method);
  for (const auto& [name, callback] : callbacks) restore_callback(checkpoint, name, *callback, run);
}

}  // namespace zoetrope
