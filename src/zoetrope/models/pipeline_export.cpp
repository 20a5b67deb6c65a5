#include "zoetrope/models/pipeline_export.h"

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace fs = std::filesystem;

namespace {

// Small files may be edited by hand in the copy, which must not reach the original through a link.
constexpr uintmax_t kMinLinkedBytes = 16 << 20;

}  // namespace

void copy_pipeline_folder(const fs::path& source, const fs::path& target,
                          const std::string& replaced_component) {
  fs::create_directories(target);
  for (auto entry = fs::recursive_directory_iterator(
           source, fs::directory_options::follow_directory_symlink);
       entry != fs::recursive_directory_iterator(); ++entry) {
    const fs::path relative = fs::relative(entry->path(), source);
    if (entry->is_directory()) {
      if (relative == replaced_component) {
        entry.disable_recursion_pending();
      } else {
        fs::create_directories(target / relative);
      }
      continue;
    }
    const fs::path original = fs::canonical(entry->path());
    const fs::path copy = target / relative;
    std::error_code error;
    fs::remove(copy, error);
    const bool linked = fs::file_size(original) >= kMinLinkedBytes;
    if (linked) fs::create_hard_link(original, copy, error);
    if (!linked || error)
      fs::copy_file(original, copy, fs::copy_options::overwrite_existing, error);
    if (error)
      fail<CheckpointError>("{}: cannot be copied to {}: {}", original.string(), copy.string(),
                            error.message());
  }
}

void rename_component_class(const fs::path& folder, const std::string& component,
                            const std::string& class_name) {
  const fs::path path = folder / "model_index.json";
  nlohmann::ordered_json index = nlohmann::ordered_json::parse(read_file(path), nullptr, false);
  const bool good = index.is_object() && index.contains(component) && index[component].is_array() &&
                    index[component].size() == 2;
  if (!good)
    fail<CheckpointError>("{}: must name the library and class of '{}'", path.string(), component);
  index[component][1] = class_name;
  write_file_atomically(path, index.dump(2) + "\n");
}

}  // namespace zoetrope
