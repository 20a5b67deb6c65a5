// Checkpoint folders on disk: their names, what makes one complete, which one `latest` is, and
// deleting old ones. Knows no tensors. Layout as FastVideo's `<output_dir>/checkpoint-<step>/` with
// `metadata.json` and `dcp/`, and our own `COMPLETE`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace zoetrope {

/// A folder `checkpoint-<step>`.
struct CheckpointFolder {
  std::filesystem::path path;
  int64_t step = 0;

  std::filesystem::path dcp() const { return path / "dcp"; }
};

/// The folder of `step` below `output_dir`.
CheckpointFolder checkpoint_folder(const std::filesystem::path& output_dir, int64_t step);

/// All folders `checkpoint-<step>` of `output_dir`, the newest first; empty when it does not exist.
std::vector<CheckpointFolder> list_checkpoints(const std::filesystem::path& output_dir);

/// File (relative to the checkpoint) and XXH3 128-bit checksum in hexadecimal.
using FileChecksums = std::vector<std::pair<std::string, std::string>>;

/// Writes `COMPLETE`: one line a file, in the form that `xxhsum -H2 --check` reads.
void write_complete_marker(const std::filesystem::path& checkpoint, const FileChecksums& files);

/// What is wrong with a checkpoint, one text a fault; empty when it is whole. Reads every byte and
/// compares checksums. A checkpoint of FastVideo has none; it counts as whole when its parts are
/// there.
std::vector<std::string> checkpoint_faults(const CheckpointFolder& checkpoint);

/// Whether the value means the newest checkpoint (`latest`, in any case).
bool is_latest(const std::string& resume_from_checkpoint);

/// The checkpoint that `training.checkpoint.resume_from_checkpoint` means. `latest`: the newest
/// whole one of `output_dir`, naming each damaged one that is passed over; nullopt when there is no
/// checkpoint at all. Otherwise a checkpoint folder, its `dcp` folder, or a folder that holds
/// checkpoints (the newest). Throws CheckpointError when the path is none of these, when the
/// checkpoint is damaged, and when `latest` finds only damaged ones.
std::optional<CheckpointFolder> resolve_resume(const std::string& value,
                                               const std::filesystem::path& output_dir);

/// Removes leftovers of interrupted writes and all but the newest `limit` complete checkpoints (0
/// keeps all). A checkpoint disappears from its name at once and only then from the disk.
void prune_checkpoints(const std::filesystem::path& output_dir, int64_t limit);

}  // namespace zoetrope
