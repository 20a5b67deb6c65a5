#include "zoetrope/distributed/group.h"

#include <algorithm>
#include <chrono>

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Gloo and NCCL go on with advice and stack frames.
std::string_view first_sentence(std::string_view text) {
  return text.substr(0, std::min(text.find(". "), text.find('\n')));
}

void check_flat(const at::Tensor& tensor, const char* operation) {
  TORCH_CHECK(tensor.dim() == 1 && tensor.is_contiguous(), operation,
              ": tensors must be flat and contiguous, but got ", tensor.sizes());
}

}  // namespace

struct PendingCollective::State {
  FailedCollective call;
  ExplainFailure explain;
  c10::intrusive_ptr<c10d::Work> work;
  std::vector<at::Tensor> kept;
  std::function<void()> finish;
};

void PendingCollective::wait() {
  if (!state_) return;
  const std::shared_ptr<State> state = std::move(state_);
  const auto start = std::chrono::steady_clock::now();
  try {
    state->work->wait();
  } catch (const std::exception& error) {
    FailedCollective& call = state->call;
    call.waited_sec =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fail<DistributedError>(
        "{} in group '{}' of ranks {}, rank {}, call {}: must end on every rank, but {} ({})",
        call.operation, call.group, fmt::join(call.ranks, ","), call.rank, call.call,
        state->explain ? state->explain(call) : "failed", first_sentence(error.what()));
  }
  if (state->finish) state->finish();
}

std::shared_ptr<Group> Group::alone(std::string name) {
  return std::make_shared<Group>(std::move(name), Backends(), std::vector<int64_t>{0}, 0);
}

Group::Backends::Backends() = default;
Group::Backends::Backends(c10::intrusive_ptr<c10d::Backend> for_cpu,
                          c10::intrusive_ptr<c10d::Backend> for_device)
    : cpu(std::move(for_cpu)), device(std::move(for_device)) {}
Group::Backends::~Backends() = default;
Group::Backends::Backends(const Backends&) = default;

Group::Group(std::string name, const Backends& backends, std::vector<int64_t> ranks, int64_t index,
             ExplainFailure explain)
    : name_(std::move(name)),
      backends_(backends),
      ranks_(std::move(ranks)),
      index_(index),
      explain_(std::move(explain)) {
  TORCH_CHECK(backends_.cpu.defined() || ranks_.size() == 1, "group ", name_,
              ": several ranks must have a backend");
}

c10d::Backend& Group::backend_of(const at::Tensor& tensor) const {
  if (tensor.is_cpu()) return *backends_.cpu;
  TORCH_CHECK(backends_.device.defined(), "group ", name_, ": must have a backend for tensors of ",
              tensor.device(), ", but has one for the CPU alone");
  return *backends_.device;
}

Group::~Group() = default;

PendingCollective Group::pending(const char* operation, int64_t num_bytes,
                                 const c10::intrusive_ptr<c10d::Work>& work,
                                 std::vector<at::Tensor> kept, std::function<void()> finish) {
  ++traffic_.num_calls;
  traffic_.num_bytes += num_bytes;
  PendingCollective pending;
  pending.state_ = std::make_shared<PendingCollective::State>();
  pending.state_->call = {name_, operation, traffic_.num_calls, ranks_,
                          ranks_[static_cast<size_t>(index_)]};
  pending.state_->explain = explain_;
  pending.state_->work = work;
  pending.state_->kept = std::move(kept);
  pending.state_->finish = std::move(finish);
  return pending;
}

PendingCollective Group::all_gather(const at::Tensor& input, const at::Tensor& output) {
  check_flat(input, "all_gather");
  check_flat(output, "all_gather");
  TORCH_CHECK(output.numel() == size() * input.numel(), "all_gather: output must hold ", size(),
              " inputs of ", input.numel(), ", but holds ", output.numel());
  if (!backends_.cpu) {
    if (!input.is_alias_of(output)) output.copy_(input);
    return {};
  }
  at::Tensor to = output.detach();
  at::Tensor from = input.detach();
  const auto num_bytes = static_cast<int64_t>(input.nbytes()) * (size() - 1);
  return pending("all_gather", num_bytes, backend_of(from).all_gather_single(to, from), {to, from});
}

PendingCollective Group::all_to_all(const at::Tensor& input, const at::Tensor& output) {
  check_flat(input, "all_to_all");
  check_flat(output, "all_to_all");
  TORCH_CHECK(input.numel() == output.numel() && input.numel() % size() == 0,
              "all_to_all: input and output must be of one size that ", size(),
              " divides, but are of ", input.numel(), " and ", output.numel());
  if (!backends_.cpu) {
    output.copy_(input);
    return {};
  }
  at::Tensor to = output.detach();
  at::Tensor from = input.detach();
  std::vector<int64_t> equal;
  const auto num_bytes = static_cast<int64_t>(input.nbytes()) / size() * (size() - 1);
  return pending("all_to_all", num_bytes,
                 backend_of(from).all_to_all_single(to, from, equal, equal), {to, from});
}

PendingCollective Group::reduce_scatter_sum(const at::Tensor& input, const at::Tensor& output) {
  TORCH_CHECK(output.scalar_type() == at::kFloat && input.numel() == size() * output.numel(),
              "reduce_scatter_sum: output must be fp32 and a part in ", size(), " of ",
              input.numel(), ", but is ", output.scalar_type(), " of ", output.numel());
  if (!backends_.cpu) {
    output.copy_(input);
    return {};
  }
  const at::Tensor received = at::empty_like(input);
  PendingCollective exchange = all_to_all(input, received);
  exchange.state_->finish = [received, output, ranks = size()] {
    pairwise_sum(received.to(at::kFloat).view({ranks, -1}), output);
  };
  return exchange;
}

PendingCollective Group::all_reduce_sum(const at::Tensor& values) {
  check_flat(values, "all_reduce_sum");
  if (!backends_.cpu) return {};
  const int64_t padding = round_up(values.numel(), size()) - values.numel();
  const at::Tensor input = padding == 0 ? values : at::constant_pad_nd(values, {0, padding});
  const at::Tensor part = at::empty({input.numel() / size()}, values.options().dtype(at::kFloat));
  const bool in_place = padding == 0 && values.scalar_type() == at::kFloat;
  const at::Tensor sums = in_place ? values : at::empty({input.numel()}, part.options());
  PendingCollective reduction = reduce_scatter_sum(input, part);
  reduction.state_->finish = [this, sum_part = std::move(reduction.state_->finish), part, sums,
                              values] {
    sum_part();
    all_gather(part, sums).wait();
    if (!sums.is_same(values)) values.copy_(sums.narrow(0, 0, values.numel()));
  };
  return reduction;
}

void Group::broadcast(const at::Tensor& values, int64_t source) {
  if (!backends_.cpu) return;
  std::vector<at::Tensor> tensors{values.detach()};
  c10d::BroadcastOptions options;
  options.rootRank = source;
  const auto num_bytes = index_ == source ? static_cast<int64_t>(values.nbytes()) : 0;
  pending("broadcast", num_bytes, backend_of(values).broadcast(tensors, options), tensors).wait();
}

std::vector<std::vector<double>> Group::all_gather_numbers(const std::vector<double>& numbers) {
  const auto count = static_cast<int64_t>(numbers.size());
  const at::Tensor all = at::empty({size() * count}, at::kDouble);
  if (count > 0) all_gather(at::tensor(numbers, at::kDouble), all).wait();
  std::vector<std::vector<double>> gathered;
  for (int64_t rank = 0; rank < size(); ++rank) {
    const double* begin = all.const_data_ptr<double>() + rank * count;
    gathered.emplace_back(begin, begin + count);
  }
  return gathered;
}

void Group::barrier() {
  if (!backends_.cpu) return;
  pending("barrier", 0, backends_.cpu->barrier(), {}).wait();
}

bool any_rank(Group& group, bool value) {
  const auto values = group.all_gather_numbers({value ? 1.0 : 0.0});
  return std::any_of(values.begin(), values.end(),
                     [](const std::vector<double>& of_rank) { return of_rank[0] != 0.0; });
}

void pairwise_sum(const at::Tensor& parts, const at::Tensor& sum) {
  const int64_t count = parts.size(0);
  if (count == 1) sum.copy_(parts[0]);
  for (int64_t stride = 1; stride < count; stride *= 2) {
    const bool is_last = 2 * stride >= count;
    for (int64_t i = 0; i + stride < count; i += 2 * stride) {
      at::Tensor target = is_last ? sum : parts[i];
      at::add_out(target, parts[i], parts[i + stride]);
    }
  }
}

}  // namespace zoetrope
