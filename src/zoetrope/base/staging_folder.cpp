#include "zoetrope/base/staging_folder.h"

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace fs = std::filesystem;

namespace {

fs::path hidden_beside(const fs::path& target, const char* ending) {
  return target.parent_path() / fmt::format(".{}.{}", target.filename().string(), ending);
}

}  // namespace

StagingFolder::StagingFolder(const fs::path& target)
    : target_(fs::absolute(target).lexically_normal()), path_(hidden_beside(target_, "partial")) {
  fs::remove_all(path_);
  fs::create_directories(path_);
}

StagingFolder::~StagingFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void StagingFolder::put_in_place(const fs::path& part) {
  const fs::path old = hidden_beside(target_, "deleted");
  sync_to_disk(part);
  fs::remove_all(old);
  if (fs::exists(target_)) fs::rename(target_, old);
  fs::rename(part, target_);
  sync_to_disk(target_.parent_path());
  fs::remove_all(old);
}

}  // namespace zoetrope
