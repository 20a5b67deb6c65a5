#include "zoetrope/distributed/rank_environment.h"

#include <charconv>
#include <cstdlib>
#include <vector>

#include <fmt/ranges.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr const char* kLoopback = "127.0.0.1";
constexpr int64_t kDefaultPort = 29500;  // torchrun's
constexpr int64_t kMaxPort = 65535;
constexpr int64_t kFirstJobPort = 20000;  // below the ports that systems give to any connection
constexpr int64_t kNumJobPorts = 10000;

/// The variables of one launcher.
class Variables {
 public:
  Variables(const EnvironmentLookup& lookup, std::string launcher)
      : lookup_(lookup), launcher_(std::move(launcher)) {}

  std::optional<std::string> text(const std::string& name) const {
    std::optional<std::string> value = lookup_(name);
    if (value && value->empty()) value.reset();
    return value;
  }

  std::optional<int64_t> number(const std::string& name) const {
    const std::optional<std::string> value = text(name);
    if (!value) return std::nullopt;
    int64_t number = 0;
    const char* end = value->data() + value->size();
    const auto [stop, error] = std::from_chars(value->data(), end, number);
    if (error != std::errc() || stop != end || number < 0) {
      fail<DistributedError>(
          "environment variable {} (set by {}): must be a number from 0 on, but is '{}'", name,
          launcher_, *value);
    }
    return number;
  }

  bool any(const std::vector<std::string>& names) const {
    for (const std::string& name : names)
      if (text(name)) return true;
    return false;
  }

  /// Throws unless all of `names` are set.
  void require(const std::vector<std::string>& names) const {
    std::vector<std::string> set;
    std::vector<std::string> missing;
    for (const std::string& name : names) (text(name) ? set : missing).push_back(name);
    if (missing.empty()) return;
    fail<DistributedError>(
        "environment variables of {}: all or none must be set, but {} {} set and {} not; start "
        "the ranks with `zoetrope launch`, torchrun, srun or mpirun, or unset what is set",
        launcher_, fmt::join(set, ", "), set.size() == 1 ? "is" : "are", fmt::join(missing, ", "));
  }

 private:
  const EnvironmentLookup& lookup_;
  std::string launcher_;
};

void check(const RankEnvironment& found, const char* rank, const char* num_ranks,
           const char* local_rank, const char* local_num_ranks) {
  const auto below = [](int64_t value, const char* name, int64_t limit, const char* limit_name) {
    if (value >= limit) {
      fail<DistributedError>("environment variables: {} must be below {}, but got {} and {}", name,
                             limit_name, value, limit);
    }
  };
  below(found.rank, rank, found.num_ranks, num_ranks);
  below(found.local_rank, local_rank, found.local_num_ranks, local_num_ranks);
  if (found.local_num_ranks > found.num_ranks) {
    fail<DistributedError>("environment variables: {} must be at most {}, but got {} and {}",
                           local_num_ranks, num_ranks, found.local_num_ranks, found.num_ranks);
  }
}

/// Takes MASTER_ADDR and MASTER_PORT, or what is given for a launcher that does not set them.
void set_address(RankEnvironment& found, const Variables& variables,
                 const std::optional<std::string>& address, int64_t port) {
  const bool one_machine = found.local_num_ranks == found.num_ranks;
  const auto given = variables.text("MASTER_ADDR");
  if (!given && !one_machine && !address) {
    fail<DistributedError>(
        "environment variable MASTER_ADDR: must be the address of rank 0's machine for ranks on "
        "several machines under {}, but is not set; with mpirun: -x MASTER_ADDR=HOST",
        found.launcher);
  }
  found.master_address = given ? *given : one_machine ? kLoopback : *address;
  found.master_port = variables.number("MASTER_PORT").value_or(port);
  if (found.master_port < 1 || found.master_port > kMaxPort) {
    fail<DistributedError>("environment variable MASTER_PORT: must be from 1 to {}, but is {}",
                           kMaxPort, found.master_port);
  }
}

RankEnvironment read_torchrun(const EnvironmentLookup& lookup) {
  RankEnvironment found;
  found.launcher = "torchrun";
  const Variables variables(lookup, found.launcher);
  variables.require(
      {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"});
  found.rank = *variables.number("RANK");
  found.num_ranks = *variables.number("WORLD_SIZE");
  found.local_rank = *variables.number("LOCAL_RANK");
  found.local_num_ranks = *variables.number("LOCAL_WORLD_SIZE");
  check(found, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE");
  set_address(found, variables, {}, kDefaultPort);
  found.launcher_has_store = variables.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  found.restart_count = variables.number("TORCHELASTIC_RESTART_COUNT").value_or(0);
  found.has_own_log = variables.text("ZOETROPE_RANK_LOGS") == "1";
  return found;
}

/// Ranks of an MPI launcher, whose variables have these names.
RankEnvironment read_mpi(const EnvironmentLookup& lookup, const std::string& launcher,
                         const std::vector<std::string>& names) {
  RankEnvironment found;
  found.launcher = launcher;
  const Variables variables(lookup, launcher);
  variables.require(names);
  found.rank = *variables.number(names[0]);
  found.num_ranks = *variables.number(names[1]);
  found.local_rank = *variables.number(names[2]);
  found.local_num_ranks = *variables.number(names[3]);
  check(found, names[0].c_str(), names[1].c_str(), names[2].c_str(), names[3].c_str());
  set_address(found, variables, {}, kDefaultPort);
  return found;
}

/// `node[07-09,12],other` -> `node07`.
std::string first_host(const std::string& node_list) {
  const size_t open = node_list.find_first_of("[,");
  if (open == std::string::npos || node_list[open] == ',') return node_list.substr(0, open);
  const size_t first_end = node_list.find_first_of("-,]", open);
  const size_t close = node_list.find(']', open);
  if (first_end == std::string::npos || close == std::string::npos) {
    fail<DistributedError>(
        "environment variable SLURM_STEP_NODELIST: must be a list of hosts, but is '{}'",
        node_list);
  }
  const size_t end = node_list.find(',', close);
  const size_t suffix = close + 1;
  return node_list.substr(0, open) + node_list.substr(open + 1, first_end - open - 1) +
         node_list.substr(suffix, end == std::string::npos ? end : end - suffix);
}

/// `4(x2),1` -> 4, 4, 1: entry `node`.
int64_t tasks_of_node(const std::string& tasks_per_node, int64_t node) {
  const char* at = tasks_per_node.data();
  const char* end = at + tasks_per_node.size();
  while (at < end) {
    int64_t tasks = 0;
    int64_t repeats = 1;
    at = std::from_chars(at, end, tasks).ptr;
    if (end - at > 2 && at[0] == '(' && at[1] == 'x')
      at = std::from_chars(at + 2, end, repeats).ptr + 1;
    if (node < repeats && tasks > 0) return tasks;
    node -= repeats;
    if (at >= end || *at != ',') break;
    ++at;
  }
  fail<DistributedError>(
      "environment variable SLURM_STEP_TASKS_PER_NODE: must be the tasks of each node, but is '{}'",
      tasks_per_node);
}

RankEnvironment read_slurm(const EnvironmentLookup& lookup) {
  RankEnvironment found;
  found.launcher = "Slurm";
  const Variables variables(lookup, found.launcher);
  variables.require({"SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_NUM_TASKS",
                     "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST", "SLURM_JOB_ID"});
  found.rank = *variables.number("SLURM_PROCID");
  found.num_ranks = *variables.number("SLURM_STEP_NUM_TASKS");
  found.local_rank = *variables.number("SLURM_LOCALID");
  found.local_num_ranks = tasks_of_node(*variables.text("SLURM_STEP_TASKS_PER_NODE"),
                                        *variables.number("SLURM_NODEID"));
  check(found, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",
        "the number of tasks of this node in SLURM_STEP_TASKS_PER_NODE");
  const int64_t job =
      *variables.number("SLURM_JOB_ID") + variables.number("SLURM_STEP_ID").value_or(0);
  set_address(found, variables, first_host(*variables.text("SLURM_STEP_NODELIST")),
              kFirstJobPort + job % kNumJobPorts);
  return found;
}

}  // namespace

EnvironmentLookup process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

// From the innermost to the outermost: torchrun and mpirun start their ranks through srun in a job
// of Slurm, and what they start has the variables of both.
RankEnvironment read_rank_environment(const EnvironmentLookup& lookup) {
  const Variables variables(lookup, "");
  if (variables.any({"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}))
    return read_torchrun(lookup);
  if (variables.any({"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"})) {
    return read_mpi(lookup, "Open MPI",
                    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
                     "OMPI_COMM_WORLD_LOCAL_SIZE"});
  }
  if (variables.any({"MPI_LOCALRANKID", "MPI_LOCALNRANKS"}))
    return read_mpi(lookup, "PMI", {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"});
  if (variables.any({"PMI_LOCAL_RANK", "PMI_LOCAL_SIZE"}))
    return read_mpi(lookup, "PMI", {"PMI_RANK", "PMI_SIZE", "PMI_LOCAL_RANK", "PMI_LOCAL_SIZE"});
  // Set for the tasks of srun, and not in the script or shell that a job starts.
  if (variables.any({"SLURM_STEP_NODELIST"})) return read_slurm(lookup);
  return {};
}

}  // namespace zoetrope
