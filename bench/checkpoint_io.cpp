// Writes a checkpoint of several tensors to a folder, reads it back and prints MB/s; compare with
// `dd if=/dev/zero of=FOLDER/zeros bs=1M count=1000 conv=fsync`.
#include <chrono>
#include <cstdio>
#include <filesystem>

#include <ATen/ATen.h>

#include "zoetrope/checkpoint/dcp/dcp_folder.h"
#include "zoetrope/checkpoint/dcp/dcp_writer.h"
#include "zoetrope/checkpoint/dcp/file_checksum.h"

namespace {

using zoetrope::DcpItem;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void report(const char* what, uint64_t num_bytes, double sec) {
  constexpr double kMegabyte = 1e6;
  std::printf("%-28s %6.2f s %8.0f MB/s\n", what, sec,
              static_cast<double>(num_bytes) / kMegabyte / sec);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench_checkpoint_io FOLDER NUM_TENSORS MEGABYTES_EACH\n");
    return 1;
  }
  const std::filesystem::path folder = argv[1];
  const int64_t num_elements = std::stoll(argv[3]) * 250'000;
  const int num_tensors = std::stoi(argv[2]);
  std::vector<DcpItem> items;
  for (int i = 0; i < num_tensors; ++i) {
    const std::string key = "tensor" + std::to_string(i);
    items.push_back({key, {key}, at::full({num_elements}, i, at::kFloat), {}, {}});
  }
  std::filesystem::create_directories(folder);
  auto start = std::chrono::steady_clock::now();
  const zoetrope::DcpFileIndex index = zoetrope::write_dcp_file(folder, 0, items);
  zoetrope::write_dcp_metadata(folder, {index});
  report("write, checksum, fsync", index.num_bytes, seconds_since(start));
  start = std::chrono::steady_clock::now();
  const zoetrope::DcpFolder read(folder);
  for (const DcpItem& item : items) read.read_into(item.key, std::get<at::Tensor>(item.value));
  report("read into tensors", index.num_bytes, seconds_since(start));
  start = std::chrono::steady_clock::now();
  const bool same = zoetrope::file_checksum(folder / index.file) == index.checksum;
  report("verify the checksum", index.num_bytes, seconds_since(start));
  return same ? 0 : 1;
}
