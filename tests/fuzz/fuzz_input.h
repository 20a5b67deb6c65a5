// What the fuzz targets share: input as a file, and reading every byte of a tensor, so that the
// address sanitizer sees a view that reaches too far.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace zoetrope::fuzz {

/// A file in memory that holds the input; its path is good for as long as this lives.
class InputFile {
 public:
  InputFile(const uint8_t* bytes, size_t size) : descriptor_(memfd_create("input", MFD_CLOEXEC)) {
    if (write(descriptor_, bytes, size) != static_cast<ssize_t>(size)) __builtin_trap();
  }
  ~InputFile() { close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// Adds up the tensor's bytes (of the first million elements).
inline uint64_t touch(const at::Tensor& tensor) {
  constexpr int64_t kMost = 1'000'000;
  if (tensor.numel() > kMost) return 0;
  const at::Tensor bytes = tensor.contiguous();
  const auto* begin = static_cast<const uint8_t*>(bytes.const_data_ptr());
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.nbytes(); ++i) sum += begin[i];
  return sum;
}

}  // namespace zoetrope::fuzz
