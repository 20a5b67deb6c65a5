#include "zoetrope/plan/plan_report.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace zoetrope {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
constexpr double kGiga = 1e9;

std::string gib(double bytes) {
  const double value = bytes / kGib;
  return value < 0.005 ? "-" : fmt::format("{:.{}f}", value, value < 10 ? 2 : 1);
}

/// Rows of names and one column for each role, then what is shared, then the sum.
class MemoryTable {
 public:
  explicit MemoryTable(const RunPlan& plan) {
    for (const RoleDescription& role : plan.run.roles) columns_.push_back(role.name);
    columns_.emplace_back();  // shared
    add(plan.memory.always);
    add(plan.memory.peak().parts);
  }

  void write(std::string& out) const {
    out += fmt::format("{:<{}}", "GiB a rank", kNameWidth);
    for (const std::string& column : columns_)
      out += fmt::format("{:>12}", column.empty() ? "shared" : column);
    out += fmt::format("{:>12}\n", "all");
    for (const std::string& name : names_) write_row(out, name, name);
    write_row(out, "total", "");
  }

 private:
  void add(const std::vector<MemoryPart>& parts) {
    for (const MemoryPart& part : parts) {
      if (std::find(names_.begin(), names_.end(), part.name) == names_.end())
        names_.push_back(part.name);
      parts_.push_back(part);
    }
  }

  double sum(const std::string& name, const std::string* role) const {
    double bytes = 0;
    for (const MemoryPart& part : parts_) {
      if ((name.empty() || part.name == name) && (role == nullptr || part.role == *role))
        bytes += part.bytes;
    }
    return bytes;
  }

  void write_row(std::string& out, const std::string& title, const std::string& name) const {
    out += fmt::format("{:<{}}", "  " + title, kNameWidth);
    for (const std::string& column : columns_)
      out += fmt::format("{:>12}", gib(sum(name, &column)));
    out += fmt::format("{:>12}\n", gib(sum(name, nullptr)));
  }

  static constexpr size_t kNameWidth = 24;
  std::vector<std::string> columns_;
  std::vector<std::string> names_;
  std::vector<MemoryPart> parts_;
};

std::string describe_mesh(const RunPlan& plan) {
  const MeshSizes& mesh = plan.run.mesh;
  std::string text =
      fmt::format("{} rank{} = {} cop{} of the parameters x {} shard{}", mesh.num_ranks(),
                  mesh.num_ranks() == 1 ? "" : "s", mesh.replicate,
                  mesh.replicate == 1 ? "y" : "ies", mesh.shard, mesh.shard == 1 ? "" : "s");
  if (mesh.tensor > 1) text += fmt::format(" x {} tensor parallel", mesh.tensor);
  if (mesh.sequence > 1) text += fmt::format("; {} ranks share a sample", mesh.sequence);
  return text;
}

void write_memory(const RunPlan& plan, std::string& out) {
  out += fmt::format("Memory at the peak, {}\n", plan.memory.peak().name);
  MemoryTable(plan).write(out);
  out += "  other moments:";
  const char* separator = " ";
  const auto write_moment = [&](const MemoryMoment& moment) {
    if (&moment == &plan.memory.peak()) return;
    out += fmt::format("{}{} {}", separator, moment.name, gib(plan.memory.bytes_of(moment)));
    separator = ", ";
  };
  for (const MemoryMoment& moment : plan.memory.moments) write_moment(moment);
  for (const MemoryMoment& moment : plan.memory.rare) write_moment(moment);
  out += "\n";
}

void write_work(const RunPlan& plan, std::string& out) {
  const StepPlan& step = plan.step;
  out += fmt::format("\nWork of a step (mean over steps), {} samples of {} tokens\n",
                     step.num_samples, step.tokens_per_sample);
  out += fmt::format("  {:<36}{:>10}{:>14}{:>14}\n", "a rank", "calls", "tokens", "TFLOP");
  for (const PassWork& work : step.passes) {
    out += fmt::format("  {:<36}{:>10.2f}{:>14.0f}{:>14.2f}\n",
                       fmt::format("{}: {}", work.role, work.purpose), work.num_calls, work.tokens,
                       work.flops * 1e-12);
  }
  out += fmt::format("  {:<60}{:>14.2f}\n", "total", step.flops() * 1e-12);
}

void write_traffic(const RunPlan& plan, std::string& out) {
  out += "\nBytes that leave a rank in a step\n";
  if (plan.step.traffic.empty()) out += "  none\n";
  for (const LinkTraffic& traffic : plan.step.traffic) {
    out += fmt::format("  {:<36}{:>10.3f} GB  {} of {} ranks, {}, {}\n", traffic.operation,
                       traffic.bytes / kGiga, traffic.group, traffic.group_size,
                       traffic.between_machines ? "between machines" : "within a machine",
                       traffic.overlaps ? "beside computation" : "computation waits");
  }
}

void write_time(const RunPlan& plan, std::string& out) {
  if (plan.target.gpu == nullptr) return;
  const Gpu& gpu = *plan.target.gpu;
  const TimeAssumptions& assumed = plan.target.time;
  const TimePlan time = plan_time(plan.run, plan.step, gpu, assumed);
  const bool is_bf16 = plan.run.compute_bytes == 2;
  out += fmt::format(
      "\nTime of a step, estimated: {:.2f} s = the longer of computation {:.2f} s and "
      "communication beside it {:.2f} s, and {:.2f} s that computation waits\n",
      time.step_sec(), time.compute_sec, time.overlapped_sec, time.exposed_sec);
  out += fmt::format(
      "  assumes {:.0f} TFLOP/s ({}, dense) at {:.0f}% utilization, {:.0f} GB/s ({}) within and "
      "{:g} GB/s a rank between machines of {}, at {:.0f}%\n  source: {}\n",
      is_bf16 ? gpu.bf16_tflops : gpu.tf32_tflops, is_bf16 ? "bf16" : "tf32",
      assumed.utilization * 100, gpu.local_gb_per_sec, gpu.local_link, gpu.network_gb_per_sec,
      plan.target.ranks_per_machine, assumed.link_efficiency * 100, gpu.source);
}

void write_disk(const RunPlan& plan, std::string& out) {
  const RunDescription& run = plan.run;
  const int64_t kept = run.num_checkpoints_kept > 0
                           ? std::min(run.num_checkpoints_kept, run.num_checkpoints)
                           : run.num_checkpoints;
  out += fmt::format("\nDisk: {:.2f} GB a checkpoint", plan.step.checkpoint_bytes / kGiga);
  out += kept > 0 ? fmt::format(", {} kept: {:.2f} GB\n", kept,
                                static_cast<double>(kept) * plan.step.checkpoint_bytes / kGiga)
                  : ", but none is written\n";
}

}  // namespace

double gpu_reserved_bytes(double memory_bytes) {
  // A CUDA context with its modules (0.5 GiB), workspaces of cuBLAS and cuDNN (0.3), NCCL's buffers
  // (0.5); 3% of the memory in fragments of the caching allocator.
  constexpr double kLibraries = 1.3 * kGib;
  constexpr double kFragments = 0.03;
  return kLibraries + kFragments * memory_bytes;
}

PlanTarget gpu_target(const Gpu& gpu) {
  PlanTarget target;
  target.name = gpu.name;
  target.memory_bytes = gpu.memory_gib * kGib;
  target.reserved_bytes = gpu_reserved_bytes(target.memory_bytes);
  target.ranks_per_machine = gpu.num_per_machine;
  target.gpu = &gpu;
  return target;
}

RunPlan plan_run(RunDescription run, PlanTarget target) {
  RunPlan plan{std::move(run), std::move(target), {}, {}, {}};
  plan.memory = plan_memory(plan.run);
  plan.step = plan_step(plan.run, plan.target.ranks_per_machine);
  plan.suggestions = suggest_changes(plan.run, plan.target);
  return plan;
}

std::string memory_sentence(const RunPlan& plan) {
  return fmt::format(
      "{:.2f} GiB of memory a rank ({}) {} {:.2f} GiB of {} (of {:.2f}, {:.2f} reserved)",
      plan.peak_bytes() / kGib, plan.memory.peak().name, plan.fits() ? "fit the" : "do not fit the",
      plan.target.usable_bytes() / kGib, plan.target.name, plan.target.memory_bytes / kGib,
      plan.target.reserved_bytes / kGib);
}

std::string format_plan(const RunPlan& plan) {
  std::string out = describe_mesh(plan) + fmt::format(", on {}\n", plan.target.name);
  for (const RoleDescription& role : plan.run.roles) {
    out += fmt::format("  {}: {}, {:.3g} M parameters ({})\n", role.name,
                       role.lora        ? "adapters trained"
                       : role.trainable ? "trained"
                                        : "frozen",
                       static_cast<double>(base_size(plan.run, role).parameters) * 1e-6,
                       role.network_source);
  }
  out += "\n";
  write_memory(plan, out);
  out +=
      fmt::format("\n{}: {}\n", plan.fits() ? "It fits" : "IT DOES NOT FIT", memory_sentence(plan));
  for (const Suggestion& suggestion : plan.suggestions) {
    out += fmt::format("  {} {:>8} GiB with {}\n",
                       suggestion.fits ? "fits:  " : "does not:", gib(suggestion.peak_bytes),
                       suggestion.change);
  }
  write_work(plan, out);
  write_traffic(plan, out);
  write_time(plan, out);
  write_disk(plan, out);
  return out;
}

namespace {

nlohmann::ordered_json parts_json(const std::vector<MemoryPart>& parts) {
  auto list = nlohmann::ordered_json::array();
  for (const MemoryPart& part : parts)
    list.push_back({{"name", part.name}, {"role", part.role}, {"bytes", part.bytes}});
  return list;
}

nlohmann::ordered_json memory_json(const RunPlan& plan) {
  nlohmann::ordered_json json;
  json["always"] = parts_json(plan.memory.always);
  const auto write = [&](const char* key, const std::vector<MemoryMoment>& moments) {
    json[key] = nlohmann::ordered_json::array();
    for (const MemoryMoment& moment : moments) {
      json[key].push_back({{"name", moment.name},
                           {"parts", parts_json(moment.parts)},
                           {"total_bytes", plan.memory.bytes_of(moment)}});
    }
  };
  write("moments", plan.memory.moments);
  write("rare_moments", plan.memory.rare);
  json["peak_of_step_bytes"] = plan.memory.bytes_of(plan.memory.peak_of_step());
  json["peak_bytes"] = plan.peak_bytes();
  json["peak"] = plan.memory.peak().name;
  json["usable_bytes"] = plan.target.usable_bytes();
  json["fits"] = plan.fits();
  return json;
}

}  // namespace

nlohmann::ordered_json to_json(const RunPlan& plan) {
  nlohmann::ordered_json json;
  json["target"] = plan.target.name;
  json["num_ranks"] = plan.run.mesh.num_ranks();
  json["memory"] = memory_json(plan);
  json["suggestions"] = nlohmann::ordered_json::array();
  for (const Suggestion& suggestion : plan.suggestions) {
    json["suggestions"].push_back({{"change", suggestion.change},
                                   {"peak_bytes", suggestion.peak_bytes},
                                   {"fits", suggestion.fits}});
  }
  json["samples_per_step"] = plan.step.num_samples;
  json["tokens_per_sample"] = plan.step.tokens_per_sample;
  json["flops_per_rank"] = plan.step.flops();
  json["passes"] = nlohmann::ordered_json::array();
  for (const PassWork& work : plan.step.passes) {
    json["passes"].push_back({{"role", work.role},
                              {"purpose", work.purpose},
                              {"calls", work.num_calls},
                              {"tokens", work.tokens},
                              {"flops", work.flops}});
  }
  json["traffic"] = nlohmann::ordered_json::array();
  for (const LinkTraffic& traffic : plan.step.traffic) {
    json["traffic"].push_back({{"operation", traffic.operation},
                               {"group", traffic.group},
                               {"group_size", traffic.group_size},
                               {"between_machines", traffic.between_machines},
                               {"overlaps", traffic.overlaps},
                               {"bytes", traffic.bytes}});
  }
  if (plan.target.gpu != nullptr) {
    const TimePlan time = plan_time(plan.run, plan.step, *plan.target.gpu, plan.target.time);
    json["time"] = {{"step_sec", time.step_sec()},
                    {"compute_sec", time.compute_sec},
                    {"overlapped_sec", time.overlapped_sec},
                    {"exposed_sec", time.exposed_sec},
                    {"utilization", plan.target.time.utilization},
                    {"link_efficiency", plan.target.time.link_efficiency}};
  }
  json["checkpoint_bytes"] = plan.step.checkpoint_bytes;
  return json;
}

}  // namespace zoetrope
