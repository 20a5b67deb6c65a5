#include "zoetrope/models/pipeline_export.h"

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

// Small files may be edited by hand in the copy, which must not reach the original through a link.
constexpr uintmax_t kMinLinkedBytes = 16 << 20;

/// The file `source` with the attention keys of `network`, and all that it says beside them.
void copy_with_attention(const fs::path& source, const fs::path& target,
                         const WanTransformerConfig& network) {
  ordered_json config = ordered_json::parse(read_file(source), nullptr, false);
  if (!config.is_object()) fail<CheckpointError>("{}: must be a JSON object", source.string());
  const ordered_json original = config;
  const auto set = [&](const char* key, const std::optional<int64_t>& value) {
    if (value) config[key] = *value;
  };
  set("num_frames_per_block", network.num_frames_per_block);
  set("local_attn_size", network.local_attn_size);
  set("sink_size", network.sink_size);
  if (config == original) {
    fs::copy_file(source, target, fs::copy_options::overwrite_existing);
  } else {
    write_file_atomically(target, config.dump(2) + "\n");
  }
}

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

void write_transformer_config(const fs::path& source, const fs::path& target,
                              const WanTransformerConfig& network) {
  const fs::path config = fs::path("transformer") / "config.json";
  fs::create_directories(target / "transformer");
  if (!network.is_game) {
    copy_with_attention(source / config, target / config, network);
    return;
  }
  write_file_atomically(target / config, to_json(network).dump(2) + "\n");
  const fs::path index_file = target / "model_index.json";
  ordered_json index = ordered_json::parse(read_file(index_file), nullptr, false);
  const bool good = index.is_object() && index.contains("transformer") &&
                    index["transformer"].is_array() && index["transformer"].size() == 2;
  if (!good)
    fail<CheckpointError>("{}: must name the library and class of 'transformer'",
                          index_file.string());
  index["transformer"][1] = class_name(network);
  write_file_atomically(index_file, index.dump(2) + "\n");
}

}  // namespace zoetrope
