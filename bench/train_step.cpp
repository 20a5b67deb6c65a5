// The Zoetrope side of train_step.py: the real network and optimizer classes on the weights and
// inputs of a case folder. Takes one training step for every line `step` on standard input and
// answers with the loss and the seconds it took.
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/kernels/process_memory.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"
#include "zoetrope/optim/adamw.h"
#include "zoetrope/optim/gradient_norm.h"
#include "zoetrope/tensor/dtype.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope {
namespace {

constexpr double kMaxGradientNorm = 1.0;
constexpr double kLearningRate = 1e-4;
const AdamWOptions kAdamW{0.9, 0.999, 0.01, 1e-8};

class Training {
 public:
  Training(const std::filesystem::path& folder, at::ScalarType dtype)
      : network_(read_wan_transformer_config(folder / "transformer/config.json"),
                 {at::kCPU, dtype, true}),
        inputs_file_(folder / "inputs.safetensors") {
    network_.parameters().load(
        WeightFolder(folder / "transformer").load_strict(network_.parameters().specs()));
    optimizer_.emplace(network_.parameters(), kAdamW);
    inputs_.hidden_BCTHW = inputs_file_.tensor("hidden");
    inputs_.timestep = inputs_file_.tensor("timestep");
    inputs_.text_BLE = inputs_file_.tensor("text");
    target_ = inputs_file_.tensor("target");
  }

  double step() {
    network_.parameters().zero_gradients();
    const at::Tensor loss = at::mse_loss(network_.forward(inputs_).to(at::kFloat), target_);
    loss.backward();
    const double norm = global_gradient_norm(network_.parameters());
    optimizer_->step(kLearningRate, clip_coefficient(norm, kMaxGradientNorm));
    return loss.item<double>();
  }

 private:
  WanTransformer network_;
  std::optional<AdamW> optimizer_;
  SafetensorsFile inputs_file_;
  WanTransformerInputs inputs_;
  at::Tensor target_;
};

int64_t peak_memory_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6));
  }
  return 0;
}

int run(const std::string& folder, const std::string& dtype_name_text, int num_threads) {
  at::set_num_threads(num_threads);
  const auto dtype = parse_dtype(dtype_name_text);
  if (!dtype) fail("dtype: must be fp32 or bf16, but is '{}'", dtype_name_text);
  Training training(folder, *dtype);
  for (std::string line; std::getline(std::cin, line);) {
    const auto start = std::chrono::steady_clock::now();
    const double loss = training.step();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    std::cout << fmt::format(R"({{"loss": {:.9g}, "seconds": {:.6f}, "peak_kib": {}}})", loss,
                             taken.count(), peak_memory_kib())
              << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  zoetrope::configure_process_memory();
  if (argc != 4) {
    std::cerr << "usage: bench_train_step CASE_FOLDER fp32|bf16 THREADS\n";
    return 2;
  }
  try {
    return zoetrope::run(argv[1], argv[2], std::stoi(argv[3]));
  } catch (const std::exception& error) {
    std::cerr << zoetrope::describe_error_chain(error) << '\n';
    return 1;
  }
}
