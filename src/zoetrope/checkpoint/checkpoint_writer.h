// Writes checkpoints beside the training: live tensors are copied to kept host memory by a thread
// while the next step's forward and backward pass runs, and written from there. A checkpoint
// appears under its name only when all ranks' parts of it are on disk; an interrupted or failed
// write leaves the older ones as they were. Knows no model. Source:
// docs/decisions/0005-checkpoints.md.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "zoetrope/checkpoint/checkpoint_folder.h"
#include "zoetrope/checkpoint/dcp/dcp_writer.h"
#include "zoetrope/distributed/message_board.h"

namespace zoetrope {

/// Everything that one rank gives to a checkpoint.
struct CheckpointContent {
  int64_t step = 0;
  std::vector<DcpItem> items;  ///< tensors on any device, views of the live state
  std::string metadata;        ///< the text of metadata.json, from rank 0
};

class CheckpointWriter {
 public:
  struct Options {
    std::filesystem::path output_dir;
    int64_t total_limit = 0;  ///< how many of the newest checkpoints stay; 0: all
    /// How the ranks that write one checkpoint together learn of each other's files.
    std::shared_ptr<MessageBoard> board = std::make_shared<MessageBoard>();
  };

  explicit CheckpointWriter(Options options);
  /// Waits for a write in progress.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Starts to write a checkpoint, which all ranks must do, and returns at once; when the one
  /// before is still being written, waits for that first. The tensors must stay as they are until
  /// wait_for_copy() has returned. A failure (such as a full disk) is told on the console and by
  /// last_error(); nothing is thrown, since training can go on and try again at the next
  /// checkpoint.
  void save(CheckpointContent content);
  /// Returns when the tensors given to save() may change. Nothing to do most of the time.
  void wait_for_copy();
  /// Returns when no write is in progress.
  void finish();

  /// The step of the last checkpoint that was written whole by this object.
  std::optional<int64_t> last_saved_step() const { return last_saved_step_; }
  /// Why the last write failed; empty when it did not. Only after finish().
  const std::string& last_error() const { return last_error_; }
  /// Seconds that save(), wait_for_copy() and finish() have kept their callers waiting.
  double waited_sec() const { return waited_sec_; }

 private:
  void run(CheckpointContent content);
  void copy_to_host(CheckpointContent& content);
  void write(const CheckpointContent& content);
  void write_first_rank(const CheckpointContent& content);
  void write_other_rank(const CheckpointContent& content);
  std::string board_key(const char* what, int64_t rank = 0) const;
  void prune() const;
  void release_live_tensors();
  void join();

  Options options_;
  std::vector<at::Tensor> host_copies_;  ///< kept from one checkpoint to the next
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable copied_changed_;
  bool copied_ = true;  ///< guarded by mutex_
  std::optional<int64_t> last_saved_step_;
  std::string last_error_;
  double waited_sec_ = 0.0;
  int64_t num_saves_ = 0;  ///< names the messages of one checkpoint
};

}  // namespace zoetrope
