// Sampling trajectories of diffusers' schedulers with recorded network outputs.
#include "support/golden.h"
#include "zoetrope/diffusion/samplers/flow_match_euler.h"
#include "zoetrope/diffusion/samplers/sampling_schedules.h"
#include "zoetrope/diffusion/samplers/unipc.h"

namespace zoetrope {
namespace {

std::unique_ptr<Sampler> make_sampler(const nlohmann::json& run) {
  const nlohmann::json& config = run.at("config");
  const int64_t steps = run.at("steps");
  if (run.at("scheduler") == "FlowMatchEulerDiscreteScheduler") {
    return std::make_unique<FlowMatchEuler>(make_euler_schedule(config.at("shift"), steps));
  }
  if (run.at("scheduler") != "UniPCMultistepScheduler") return nullptr;
  const UniPcOptions options{
      .order = config.at("solver_order"),
      .solver = config.at("solver_type") == "bh1" ? UniPcSolver::kBh1 : UniPcSolver::kBh2};
  return std::make_unique<UniPc>(make_diffusers_unipc_schedule(config.at("flow_shift"), steps),
                                 options);
}

class DiffusersSamplers : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(DiffusersSamplers, Trajectories) {
  const test::GoldenCase golden(GetParam());
  const double tolerance = golden.json().at("tolerance").at("value");
  for (const auto& run : golden.json().at("runs")) {
    const std::string name = run.at("name");
    SCOPED_TRACE(name);
    const std::unique_ptr<Sampler> sampler = make_sampler(run);
    ASSERT_NE(sampler, nullptr) << "unknown sampler " << run.at("scheduler");
    EXPECT_TENSOR_CLOSE(at::tensor(sampler->schedule().timesteps, at::kDouble),
                        golden.tensor(name + ".timesteps"), 1e-6);
    EXPECT_TENSOR_CLOSE(at::tensor(sampler->schedule().sigmas, at::kDouble),
                        golden.tensor(name + ".sigmas"), 1e-6);
    const at::Tensor outputs = golden.tensor(name + ".model_outputs");
    const at::Tensor samples = golden.tensor(name + ".samples");
    for (int64_t i = 0; i < sampler->num_steps(); ++i) {
      ASSERT_TENSOR_CLOSE(sampler->step(outputs[i], i, samples[i]), samples[i + 1], tolerance)
          << "step " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, DiffusersSamplers,
                         testing::ValuesIn(test::network_golden_folders("schedulers")),
                         test::golden_test_name);

TEST(DiffusersSamplerCases, AreThere) {
  EXPECT_FALSE(test::network_golden_folders("schedulers").empty());
}

}  // namespace
}  // namespace zoetrope
