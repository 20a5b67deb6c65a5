// The GPUs that a plan knows, by the numbers of their vendors' data sheets. Plain values.
#pragma once

#include <string>
#include <vector>

namespace zoetrope {

struct Gpu {
  std::string name;
  double memory_gib = 0.0;        ///< that a process can use
  double bf16_tflops = 0.0;       ///< dense, with fp32 sums
  double tf32_tflops = 0.0;       ///< dense; what fp32 compute gets at most
  double local_gb_per_sec = 0.0;  ///< NVLink or PCIe, one direction, of one GPU
  std::string local_link;
  double network_gb_per_sec = 0.0;  ///< between machines, one direction, for each GPU
  int num_per_machine = 8;
  std::string source;  ///< the data sheet
};

const std::vector<Gpu>& known_gpus();

/// Throws ConfigError with the nearest known name.
const Gpu& find_gpu(const std::string& name);

}  // namespace zoetrope
