#include "zoetrope/checkpoint/dcp/file_checksum.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include "zoetrope/base/error.h"

namespace zoetrope {

struct Checksum::State {
  State() : hash(XXH3_createState()) { XXH3_128bits_reset(hash); }
  ~State() { XXH3_freeState(hash); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  XXH3_state_t* hash;
};

Checksum::Checksum() : state_(std::make_unique<State>()) {}
Checksum::~Checksum() = default;

void Checksum::add(const void* bytes, uint64_t num_bytes) {
  XXH3_128bits_update(state_->hash, bytes, num_bytes);
}

std::string Checksum::digits() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->hash);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string file_checksum(const std::filesystem::path& path) {
  constexpr size_t kBlockBytes = 1U << 20U;
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    fail<CheckpointError>("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  std::vector<char> block(kBlockBytes);
  Checksum checksum;
  ssize_t count = 0;
  do {
    count = read(descriptor, block.data(), block.size());
    if (count > 0) checksum.add(block.data(), static_cast<uint64_t>(count));
  } while (count > 0 || (count < 0 && errno == EINTR));
  const int read_errno = errno;
  close(descriptor);
  if (count < 0)
    fail<CheckpointError>("{}: cannot be read: {}", path.string(), std::strerror(read_errno));
  return checksum.digits();
}

}  // namespace zoetrope
