// Which rank a process is under each launcher, and what is said of variables that cannot be right.
#include "zoetrope/distributed/rank_environment.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

RankEnvironment read(const Variables& variables) {
  return read_rank_environment([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

std::string fault(const Variables& variables) {
  return test::error_of([&] { read(variables); });
}

const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "node7"},
                             {"MASTER_PORT", "1234"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                             {"TORCHELASTIC_RESTART_COUNT", "2"}};

const Variables kSlurm = {{"SLURM_JOB_ID", "30007"},
                          {"SLURM_STEP_ID", "1"},
                          {"SLURM_PROCID", "9"},
                          {"SLURM_LOCALID", "1"},
                          {"SLURM_NODEID", "2"},
                          {"SLURM_NTASKS", "10"},
                          {"SLURM_STEP_NUM_TASKS", "10"},
                          {"SLURM_STEP_TASKS_PER_NODE", "4(x2),2"},
                          {"SLURM_STEP_NODELIST", "gpu[07-08,12]"}};

Variables changed(Variables variables, const Variables& with) {
  for (const auto& [name, value] : with) variables[name] = value;
  return variables;
}

TEST(RankEnvironment, NothingSetIsOneRankAlone) {
  const RankEnvironment alone = read({});
  EXPECT_EQ(alone.rank, 0);
  EXPECT_EQ(alone.num_ranks, 1);
  EXPECT_EQ(alone.launcher, "");
  EXPECT_EQ(read({{"RANK", ""}, {"WORLD_SIZE", ""}}).num_ranks, 1) << "empty is not set";
}

TEST(RankEnvironment, ReadsTorchrun) {
  const RankEnvironment found = read(kTorchrun);
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.num_ranks, 8);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_num_ranks, 4);
  EXPECT_EQ(found.master_address, "node7");
  EXPECT_EQ(found.master_port, 1234);
  EXPECT_EQ(found.launcher, "torchrun");
  EXPECT_TRUE(found.launcher_has_store);
  EXPECT_EQ(found.restart_count, 2);
}

TEST(RankEnvironment, ReadsSlurm) {
  const RankEnvironment found = read(kSlurm);
  EXPECT_EQ(found.rank, 9);
  EXPECT_EQ(found.num_ranks, 10);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_num_ranks, 2);
  EXPECT_EQ(found.master_address, "gpu07");
  EXPECT_EQ(found.master_port, 20008);
  EXPECT_EQ(found.launcher, "Slurm");
  EXPECT_FALSE(found.launcher_has_store);
}

TEST(RankEnvironment, FindsTheFirstHostOfAnyList) {
  const auto host = [](const char* list) {
    return read(changed(kSlurm, {{"SLURM_STEP_NODELIST", list}})).master_address;
  };
  EXPECT_EQ(host("alone"), "alone");
  EXPECT_EQ(host("a1,b[2-3]"), "a1");
  EXPECT_EQ(host("rack[3,5-7].cluster,other"), "rack3.cluster");
  EXPECT_EQ(host("rack[001-128]"), "rack001");
  EXPECT_THAT(fault(changed(kSlurm, {{"SLURM_STEP_NODELIST", "rack["}})),
              HasSubstr("SLURM_STEP_NODELIST: must be a list of hosts, but is 'rack['"));
}

TEST(RankEnvironment, RanksOfOneMachineMeetAtItsLoopbackAddress) {
  const RankEnvironment found = read(changed(kSlurm, {{"SLURM_PROCID", "1"},
                                                      {"SLURM_NODEID", "0"},
                                                      {"SLURM_STEP_NUM_TASKS", "2"},
                                                      {"SLURM_STEP_TASKS_PER_NODE", "2"},
                                                      {"SLURM_STEP_NODELIST", "gpu07"}}));
  EXPECT_EQ(found.master_address, "127.0.0.1");
}

// sbatch and salloc set most of Slurm's variables for the shell that they start.
TEST(RankEnvironment, AShellInASlurmJobIsOneRank) {
  const Variables batch_script = {{"SLURM_JOB_ID", "30007"},
                                  {"SLURM_PROCID", "0"},
                                  {"SLURM_LOCALID", "0"},
                                  {"SLURM_NODEID", "0"},
                                  {"SLURM_NTASKS", "8"},
                                  {"SLURM_TASKS_PER_NODE", "4(x2)"},
                                  {"SLURM_JOB_NODELIST", "gpu[07-08]"}};
  EXPECT_EQ(read(batch_script).num_ranks, 1);
  EXPECT_EQ(read(batch_script).launcher, "");
  // salloc with an interactive step: a step of one task, whatever the job has.
  const Variables shell = changed(batch_script, {{"SLURM_STEP_ID", "4294967290"},
                                                 {"SLURM_STEP_NUM_TASKS", "1"},
                                                 {"SLURM_STEP_TASKS_PER_NODE", "1"},
                                                 {"SLURM_STEP_NODELIST", "gpu07"}});
  EXPECT_EQ(read(shell).num_ranks, 1);
}

TEST(RankEnvironment, ReadsOpenMpiAlsoInASlurmJob) {
  const Variables mpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                         {"OMPI_COMM_WORLD_SIZE", "4"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};
  EXPECT_EQ(read(mpi).rank, 3);
  EXPECT_EQ(read(mpi).master_address, "127.0.0.1");
  EXPECT_EQ(read(mpi).master_port, 29500);
  EXPECT_EQ(read(changed(kSlurm, mpi)).num_ranks, 4) << "mpirun starts its daemons through srun";
  const Variables two_machines = changed(mpi, {{"OMPI_COMM_WORLD_SIZE", "8"}});
  EXPECT_THAT(fault(two_machines), AllOf(HasSubstr("MASTER_ADDR: must be the address of rank 0's"),
                                         HasSubstr("-x MASTER_ADDR=HOST")));
  EXPECT_EQ(read(changed(two_machines, {{"MASTER_ADDR", "a"}, {"MASTER_PORT", "9"}})).master_port,
            9);
}

TEST(RankEnvironment, ReadsPmiLaunchers) {
  const Variables pmi = {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}};
  const Variables hydra = changed(pmi, {{"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}});
  EXPECT_EQ(read(hydra).rank, 1);
  const Variables cray = changed(pmi, {{"PMI_LOCAL_RANK", "1"}, {"PMI_LOCAL_SIZE", "2"}});
  EXPECT_EQ(read(cray).local_rank, 1);
  // srun --mpi=pmi2 sets PMI_RANK for its tasks, too.
  EXPECT_EQ(read(changed(kSlurm, pmi)).launcher, "Slurm");
}

TEST(RankEnvironment, SaysWhichVariablesAreMissing) {
  EXPECT_EQ(fault({{"RANK", "0"}}),
            "environment variables of torchrun: all or none must be set, but RANK is set and "
            "WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT not; start the "
            "ranks with `zoetrope launch`, torchrun, srun or mpirun, or unset what is set");
  EXPECT_THAT(fault({{"OMPI_COMM_WORLD_SIZE", "2"}}),
              HasSubstr("OMPI_COMM_WORLD_SIZE is set and OMPI_COMM_WORLD_RANK, "));
  Variables slurm = kSlurm;
  slurm.erase("SLURM_PROCID");
  EXPECT_THAT(fault(slurm), HasSubstr("are set and SLURM_PROCID not"));
}

TEST(RankEnvironment, SaysWhichVariablesContradictEachOther) {
  EXPECT_EQ(fault(changed(kTorchrun, {{"RANK", "8"}})),
            "environment variables: RANK must be below WORLD_SIZE, but got 8 and 8");
  EXPECT_EQ(fault(changed(kTorchrun, {{"LOCAL_RANK", "4"}})),
            "environment variables: LOCAL_RANK must be below LOCAL_WORLD_SIZE, but got 4 and 4");
  EXPECT_EQ(fault(changed(kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}})),
            "environment variables: LOCAL_WORLD_SIZE must be at most WORLD_SIZE, but got 9 and 8");
}

TEST(RankEnvironment, SaysWhatIsNoNumber) {
  EXPECT_EQ(fault(changed(kTorchrun, {{"RANK", "first"}})),
            "environment variable RANK (set by torchrun): must be a number from 0 on, but is "
            "'first'");
  EXPECT_THAT(fault(changed(kTorchrun, {{"RANK", "-1"}})), HasSubstr("but is '-1'"));
  EXPECT_EQ(fault(changed(kTorchrun, {{"MASTER_PORT", "65536"}})),
            "environment variable MASTER_PORT: must be from 1 to 65535, but is 65536");
  EXPECT_THAT(fault(changed(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", "4(x2)"}})),
              HasSubstr("must be the tasks of each node, but is '4(x2)'"));
}

}  // namespace
}  // namespace zoetrope
