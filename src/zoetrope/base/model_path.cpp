#include "zoetrope/base/model_path.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <system_error>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

/// `org/name` or `name` of the characters that Hugging Face allows; everything else can only be a
/// path.
bool is_hub_name(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '/';
  };
  return !name.empty() && std::all_of(name.begin(), name.end(), allowed) &&
         std::count(name.begin(), name.end(), '/') <= 1 && name.front() != '/' &&
         name.front() != '.' && name.back() != '/';
}

fs::path cached_repository(const std::string& name) {
  std::string folder = "models--" + name;
  const size_t slash = folder.find('/');
  if (slash != std::string::npos) folder.replace(slash, 1, "--");
  return hugging_face_cache() / folder;
}

/// The snapshot of the main branch, if the download of at least its reference finished.
std::optional<fs::path> cached_snapshot(const std::string& name) {
  const fs::path repository = cached_repository(name);
  std::error_code error;
  if (!fs::is_regular_file(repository / "refs" / "main", error)) return std::nullopt;
  std::string revision = read_file(repository / "refs" / "main");
  while (!revision.empty() && (revision.back() == '\n' || revision.back() == ' '))
    revision.pop_back();
  fs::path snapshot = repository / "snapshots" / revision;
  if (revision.empty() || !fs::is_directory(snapshot, error)) return std::nullopt;
  return snapshot;
}

}  // namespace

fs::path expand_user(const std::string& path) {
  const bool has_home = path == "~" || path.starts_with("~/");
  const auto home = environment("HOME");
  return has_home && home ? fs::path(*home + path.substr(1)) : fs::path(path);
}

fs::path hugging_face_cache() {
  if (const auto cache = environment("HF_HUB_CACHE")) return expand_user(*cache);
  if (const auto home = environment("HF_HOME")) return expand_user(*home) / "hub";
  if (const auto cache = environment("XDG_CACHE_HOME"))
    return fs::path(*cache) / "huggingface" / "hub";
  return expand_user("~/.cache/huggingface/hub");
}

fs::path resolve_model_path(const std::string& name_or_path) {
  fs::path local = expand_user(name_or_path);
  std::error_code error;
  if (fs::is_directory(local, error)) return local;
  if (fs::exists(local, error)) {
    fail("{}: must be a model folder, but it is a file", name_or_path);
  }
  if (!is_hub_name(name_or_path)) {
    fail("{}: must be a model folder or a Hugging Face name, but there is no such folder",
         name_or_path);
  }
  if (const auto snapshot = cached_snapshot(name_or_path)) return *snapshot;
  fail(
      "{}: must be a local folder or a model in the Hugging Face cache {}, but is neither; get it "
      "with: "
      "hf download {}",
      name_or_path, hugging_face_cache().string(), name_or_path);
}

}  // namespace zoetrope
