#include "zoetrope/plan/gpu_table.h"

#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/nearest.h"

namespace zoetrope {

// Memory is what the driver leaves of the nominal size. Network bandwidth is not a property of a
// GPU: it is that of the vendor's own machine of 8 (DGX: one 200 or 400 Gbit/s port for each GPU),
// and of a shared 100 Gbit/s port for the others.
const std::vector<Gpu>& known_gpus() {
  static const std::vector<Gpu> gpus = {
      {"a100-40g", 39.4, 312, 156, 300, "NVLink 3", 25, 8, "NVIDIA A100 data sheet, DGX A100"},
      {"a100-80g", 79.2, 312, 156, 300, "NVLink 3", 25, 8, "NVIDIA A100 data sheet, DGX A100"},
      {"h100-80g", 79.6, 989, 494, 450, "NVLink 4", 50, 8, "NVIDIA H100 SXM data sheet, DGX H100"},
      {"h200-141g", 139.8, 989, 494, 450, "NVLink 4", 50, 8,
       "NVIDIA H200 SXM data sheet, DGX H200"},
      {"b200-192g", 178.0, 2250, 1125, 900, "NVLink 5", 50, 8, "NVIDIA DGX B200 data sheet"},
      {"l40s-48g", 44.5, 362, 183, 32, "PCIe 4.0 x16", 12.5, 8, "NVIDIA L40S data sheet"},
      {"rtx4090-24g", 23.5, 165, 83, 32, "PCIe 4.0 x16", 1.25, 8,
       "NVIDIA Ada GPU architecture whitepaper, appendix A"},
      {"rtx5090-32g", 31.4, 210, 105, 64, "PCIe 5.0 x16", 1.25, 8,
       "NVIDIA RTX Blackwell GPU architecture whitepaper"},
  };
  return gpus;
}

const Gpu& find_gpu(const std::string& name) {
  std::vector<std::string> names;
  for (const Gpu& gpu : known_gpus()) {
    if (gpu.name == name) return gpu;
    names.push_back(gpu.name);
  }
  fail<ConfigError>("--gpu: must be one of {}, but got '{}'{}", fmt::join(names, ", "), name,
                    did_you_mean(name, names));
}

}  // namespace zoetrope
