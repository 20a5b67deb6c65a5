#include "zoetrope/tensor/device.h"

#include "zoetrope/base/error.h"

namespace zoetrope {

c10::Device resolve_device(const std::string& name, int64_t local_rank) {
  const int num_devices = num_cuda_devices();
  if (name == "cpu" || (name == "auto" && num_devices == 0)) return c10::kCPU;
  if (name != "cuda" && name != "auto") {
    fail<ConfigError>("training.distributed.device: must be auto, cpu or cuda, but got '{}'", name);
  }
  // Slurm may show each of its tasks a GPU of its own as the only one.
  const int64_t index = num_devices == 1 ? 0 : local_rank;
  if (index >= num_devices) {
    fail<ConfigError>(
        "training.distributed.device: cuda needs GPU {} in this process, but this build sees {} "
        "GPUs; "
        "use device: cpu, or on a machine with an NVIDIA GPU the CUDA build (ZOETROPE_VARIANT=cuda "
        "./zt build)",
        index, num_devices);
  }
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

}  // namespace zoetrope
