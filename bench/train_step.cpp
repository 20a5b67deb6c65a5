// The Zoetrope side of train_step.py: the real network and optimizer classes on the weights and
// inputs of a case folder, on one rank or several. Takes one training step for every line `step` on
// standard input and answers with the loss and the seconds it took.
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/distributed/rendezvous.h"
#include "zoetrope/kernels/process_memory.h"
#include "zoetrope/models/model.h"
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
  Training(const std::filesystem::path& folder, const ModelContext& context)
      : context_(context),
        network_(read_wan_transformer_config(folder / "transformer/config.json"),
                 parameter_options(context, /*trainable=*/true)),
        inputs_file_(folder / "inputs.safetensors") {
    connect_parameters(network_.parameters(), context);
    network_.set_sequence_group(context.mesh->sequence);
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
    ParameterResidency& residency = network_.parameters().residency();
    residency.begin_micro_batch(/*is_last=*/true);
    (loss / static_cast<double>(context_.mesh->sizes.num_data_groups())).backward();
    residency.finish_micro_batch();
    const double norm = global_gradient_norm(network_.parameters());
    optimizer_->step(kLearningRate, clip_coefficient(norm, kMaxGradientNorm));
    return loss.item<double>();
  }

 private:
  ModelContext context_;
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

int run(const std::string& folder, const std::string& dtype_name_text, int num_threads,
        const MeshSizes& sizes) {
  at::set_num_threads(num_threads);
  const auto dtype = parse_dtype(dtype_name_text);
  if (!dtype) fail("dtype: must be fp32 or bf16, but is '{}'", dtype_name_text);
  Rendezvous rendezvous(read_rank_environment(process_environment()), {});
  ModelContext context;
  context.compute_dtype = *dtype;
  context.mesh = std::make_shared<const Mesh>(rendezvous.form_mesh(sizes));
  Training training(folder, context);
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
  if (argc != 4 && argc != 6) {
    std::cerr << "usage: bench_train_step CASE_FOLDER fp32|bf16 THREADS [SHARDS SEQUENCE_RANKS]\n";
    return 2;
  }
  try {
    zoetrope::MeshSizes sizes;
    if (argc == 6) sizes = {.shard = std::stoll(argv[4]), .sequence = std::stoll(argv[5])};
    return zoetrope::run(argv[1], argv[2], std::stoi(argv[3]), sizes);
  } catch (const std::exception& error) {
    std::cerr << zoetrope::describe_error_chain(error) << '\n';
    return 1;
  }
}
