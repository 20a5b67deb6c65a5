#include "zoetrope/checkpoint/checkpoint_writer.h"

#include <chrono>
#include <fstream>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <omp.h>
#include <sys/resource.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/staging_folder.h"
#include "zoetrope/checkpoint/dcp/dcp_file_index.h"
#include "zoetrope/checkpoint/dcp/file_checksum.h"

namespace zoetrope {
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

uint64_t num_tensor_bytes(const std::vector<DcpItem>& items) {
  uint64_t total = 0;
  for (const DcpItem& item : items) {
    if (const auto* tensor = std::get_if<at::Tensor>(&item.value)) total += tensor->nbytes();
  }
  return total;
}

uint64_t available_memory_bytes() {
  std::ifstream stream("/proc/meminfo");
  std::string key;
  for (uint64_t kibibytes = 0; stream >> key >> kibibytes;) {
    if (key == "MemAvailable:") return kibibytes * 1024;
    std::string unit;
    std::getline(stream, unit);
  }
  return 0;
}

// A copy may take two thirds of the memory that is free; beyond that the training waits instead.
bool fits_in_memory(uint64_t num_bytes) {
  return num_bytes + num_bytes / 2 < available_memory_bytes();
}

// What is left is not urgent: on a machine without a spare core it must not slow the training down.
// Linux takes the priority as that of the calling thread; without permission it stays.
void give_way_to_training() {
  constexpr int kNice = 5;
  setpriority(PRIO_PROCESS, 0, kNice);
}

const std::string kFailed = "failed: ";

/// What another rank has posted. Throws when it has failed.
std::string result_of(const std::string& message) {
  if (message.starts_with(kFailed))
    fail<CheckpointError>("another rank could not write its part: {}",
                          message.substr(kFailed.size()));
  return message;
}

}  // namespace

CheckpointWriter::CheckpointWriter(Options options) : options_(std::move(options)) {
  fs::create_directories(options_.output_dir);
}

CheckpointWriter::~CheckpointWriter() {
  join();
}

void CheckpointWriter::save(CheckpointContent content) {
  finish();
  copied_ = false;
  thread_ =
      std::thread([this, content = std::move(content)]() mutable { run(std::move(content)); });
}

void CheckpointWriter::wait_for_copy() {
  const auto start = Clock::now();
  std::unique_lock lock(mutex_);
  copied_changed_.wait(lock, [this] { return copied_; });
  waited_sec_ += seconds_since(start);
}

void CheckpointWriter::finish() {
  const auto start = Clock::now();
  join();
  waited_sec_ += seconds_since(start);
}

void CheckpointWriter::join() {
  if (thread_.joinable()) thread_.join();
}

void CheckpointWriter::release_live_tensors() {
  {
    const std::lock_guard lock(mutex_);
    copied_ = true;
  }
  copied_changed_.notify_all();
}

void CheckpointWriter::run(CheckpointContent content) {
  // One core, and none of the training's; ATen sets a thread's number on its first use, so that
  // comes first.
  at::get_num_threads();
  omp_set_num_threads(1);
  const auto start = Clock::now();
  const fs::path target = checkpoint_folder(options_.output_dir, content.step).path;
  const uint64_t num_bytes = num_tensor_bytes(content.items);
  try {
    copy_to_host(content);
    const double copy_sec = seconds_since(start);
    give_way_to_training();
    write(content);
    last_saved_step_ = content.step;
    last_error_.clear();
    log_info("checkpoint {}: {} written in {:.2f} s (copied in {:.2f} s)", target.string(),
             format_bytes(num_bytes), seconds_since(start), copy_sec);
  } catch (const std::exception& error) {
    last_error_ = describe_error_chain(error);
    log_info(
        "checkpoint {}: could not be written: {}; training goes on and earlier checkpoints are "
        "kept",
        target.string(), last_error_);
  }
  release_live_tensors();
  if (last_error_.empty() && options_.board->rank() == 0) prune();
}

void CheckpointWriter::prune() const {
  try {
    prune_checkpoints(options_.output_dir, options_.total_limit);
  } catch (const std::exception& error) {
    log_info("{}: old checkpoints could not be deleted: {}", options_.output_dir.string(),
             error.what());
  }
}

void CheckpointWriter::copy_to_host(CheckpointContent& content) {
  if (host_copies_.empty() && !fits_in_memory(num_tensor_bytes(content.items))) {
    log_info("checkpoint: no free memory for a copy, so training waits while it is written");
    return;
  }
  at::NoGradGuard no_grad;
  size_t index = 0;
  for (DcpItem& item : content.items) {
    auto* live = std::get_if<at::Tensor>(&item.value);
    if (live == nullptr) continue;
    if (index == host_copies_.size()) host_copies_.emplace_back();
    at::Tensor& copy = host_copies_[index++];
    if (!copy.defined() || copy.sizes() != live->sizes() || copy.dtype() != live->dtype())
      copy = at::empty(live->sizes(), live->options().device(at::kCPU));
    copy.copy_(*live);
    *live = copy;
  }
  release_live_tensors();
}

std::string CheckpointWriter::board_key(const char* what, int64_t rank) const {
  return fmt::format("checkpoint/{}/{}/{}", num_saves_, what, rank);
}

void CheckpointWriter::write(const CheckpointContent& content) {
  ++num_saves_;
  MessageBoard& board = *options_.board;
  try {
    if (board.rank() == 0) {
      write_first_rank(content);
    } else {
      write_other_rank(content);
    }
  } catch (const std::exception& error) {
    // The others wait for one of these.
    const std::string failure = kFailed + describe_error_chain(error);
    if (board.rank() == 0) {
      board.post(board_key("folder"), failure);
      board.post(board_key("result"), failure);
    } else {
      board.post(board_key("file", board.rank()), failure);
    }
    throw;
  }
}

void CheckpointWriter::write_first_rank(const CheckpointContent& content) {
  MessageBoard& board = *options_.board;
  StagingFolder partial(checkpoint_folder(options_.output_dir, content.step).path);
  const fs::path dcp = partial.path() / "dcp";
  fs::create_directories(dcp);
  board.post(board_key("folder"), dcp.string());
  std::vector<DcpFileIndex> files = {write_dcp_file(dcp, 0, content.items)};
  for (int64_t rank = 1; rank < board.num_ranks(); ++rank)
    files.push_back(read_file_index(result_of(board.read(board_key("file", rank)))));
  write_dcp_metadata(dcp, files);
  write_file_atomically(partial.path() / "metadata.json", content.metadata);
  FileChecksums checksums;
  for (const DcpFileIndex& file : files) checksums.emplace_back("dcp/" + file.file, file.checksum);
  checksums.emplace_back("dcp/.metadata", file_checksum(dcp / ".metadata"));
  checksums.emplace_back("metadata.json", file_checksum(partial.path() / "metadata.json"));
  write_complete_marker(partial.path(), checksums);
  sync_to_disk(dcp);
  partial.put_in_place();
  board.post(board_key("result"), "");
}

void CheckpointWriter::write_other_rank(const CheckpointContent& content) {
  MessageBoard& board = *options_.board;
  const fs::path dcp = result_of(board.read(board_key("folder")));
  board.post(board_key("file", board.rank()),
             write_file_index(write_dcp_file(dcp, board.rank(), content.items)));
  result_of(board.read(board_key("result")));
}

}  // namespace zoetrope
