#include "zoetrope/data/dataset.h"

#include <algorithm>
#include <cstdlib>
#include <list>
#include <map>
#include <mutex>

#include "zoetrope/base/error.h"
#include "zoetrope/data/row_decoder.h"

namespace zoetrope {
namespace fs = std::filesystem;

std::string SampleInfo::describe() const {
  return describe_sample(id, file.string(), row);
}

namespace {

fs::path expand_home(const fs::path& path) {
  const char* home = std::getenv("HOME");
  if (home == nullptr || path.empty() || *path.begin() != "~") return path;
  fs::path expanded = home;
  for (auto part = std::next(path.begin()); part != path.end(); ++part) expanded /= *part;
  return expanded;
}

std::vector<fs::path> find_files(const fs::path& source) {
  const fs::path root = expand_home(source);
  if (!fs::exists(root)) {
    fail<DataError>(
        "data_path: '{}' must be a folder with parquet files, but does not exist; "
        "'zoetrope preprocess' makes one from videos",
        source.string());
  }
  if (!fs::is_directory(root)) return {fs::canonical(root)};
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() == ".parquet" && entry.is_regular_file()) {
      files.push_back(fs::canonical(entry.path()));
    }
  }
  if (files.empty()) {
    fail<DataError>(
        "data_path: '{}' must be a folder with parquet files, but has none; "
        "'zoetrope preprocess' makes them from videos",
        source.string());
  }
  return files;
}

}  // namespace

int64_t count_rows(const std::vector<DataSource>& sources, int64_t enough) {
  int64_t num_rows = 0;
  for (const DataSource& source : sources) {
    if (source.repeat == 0) continue;
    for (const fs::path& file : find_files(source.path)) {
      num_rows += source.repeat * ParquetFile(file, detect_parquet_schema(file)).num_rows();
      if (num_rows >= enough) return num_rows;
    }
  }
  return num_rows;
}

/// Row groups by (file, group); the least recently used ones go when there are too many bytes.
class ParquetDataset::Cache {
 public:
  explicit Cache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  std::shared_ptr<const RowGroup> get(const ParquetFile& file, size_t file_index,
                                      int64_t group_index) {
    const Key key{file_index, group_index};
    std::shared_ptr<Slot> slot;
    {
      const std::lock_guard lock(mutex_);
      auto found = slots_.find(key);
      if (found == slots_.end()) {
        recent_.push_front(key);
        found = slots_.emplace(key, Entry{std::make_shared<Slot>(), recent_.begin()}).first;
      } else {
        recent_.splice(recent_.begin(), recent_, found->second.place);
      }
      slot = found->second.slot;
    }
    // One thread reads the group while those who want the same one wait and the others go on.
    const std::lock_guard lock(slot->mutex);
    if (!slot->group) {
      slot->group = file.read_row_group(group_index);
      count(key, slot->group->num_bytes());
    }
    return slot->group;
  }

 private:
  using Key = std::pair<size_t, int64_t>;
  struct Slot {
    std::mutex mutex;
    std::shared_ptr<const RowGroup> group;
  };
  struct Entry {
    std::shared_ptr<Slot> slot;
    std::list<Key>::iterator place;
    int64_t num_bytes = 0;
  };

  void count(const Key& key, int64_t num_bytes) {
    const std::lock_guard lock(mutex_);
    const auto found = slots_.find(key);
    if (found == slots_.end()) return;  // already pushed out again
    found->second.num_bytes = num_bytes;
    total_bytes_ += num_bytes;
    while (total_bytes_ > max_bytes_ && slots_.size() > 1) {
      const auto oldest = slots_.find(recent_.back());
      total_bytes_ -= oldest->second.num_bytes;
      slots_.erase(oldest);
      recent_.pop_back();
    }
  }

  int64_t max_bytes_;
  std::mutex mutex_;
  int64_t total_bytes_ = 0;
  std::list<Key> recent_;
  std::map<Key, Entry> slots_;
};

ParquetDataset::ParquetDataset(const std::vector<DataSource>& sources, const ParquetSchema& schema,
                               int64_t cache_bytes)
    : schema_(schema), sources_(sources), starts_{0}, cache_(std::make_unique<Cache>(cache_bytes)) {
  for (const DataSource& source : sources) {
    const std::vector<fs::path> found = find_files(source.path);
    for (int64_t round = 0; round < source.repeat; ++round)
      files_.insert(files_.end(), found.begin(), found.end());
  }
  if (files_.empty())
    fail<DataError>("data_path: must name at least one folder with parquet files, but names none");
  std::ranges::sort(files_);
  for (const fs::path& file : files_) {
    if (opened_.empty() || opened_.back().path() != file) opened_.emplace_back(file, schema_);
    opened_index_.push_back(opened_.size() - 1);
    starts_.push_back(starts_.back() + opened_.back().num_rows());
  }
  if (num_rows() == 0) {
    fail<DataError>("data_path: must have at least one row, but the {} parquet files are empty",
                    files_.size());
  }
}

ParquetDataset::~ParquetDataset() = default;

std::vector<int64_t> ParquetDataset::lengths() const {
  std::vector<int64_t> lengths;
  for (size_t file = 0; file < files_.size(); ++file)
    lengths.push_back(starts_[file + 1] - starts_[file]);
  return lengths;
}

ParquetDataset::Place ParquetDataset::place_of(int64_t index) const {
  if (index < 0 || index >= num_rows()) {
    fail<DataError>("data: row must be in [0, {}), but got {}", num_rows(), index);
  }
  const auto after = std::ranges::upper_bound(starts_, index);
  const auto file = static_cast<size_t>(after - starts_.begin()) - 1;
  return {file, index - starts_[file]};
}

std::pair<fs::path, int64_t> ParquetDataset::locate(int64_t index) const {
  const Place place = place_of(index);
  return {files_[place.file], place.row};
}

ParquetRow ParquetDataset::read(int64_t index) const {
  const Place place = place_of(index);
  const size_t opened = opened_index_[place.file];
  const std::vector<int64_t>& groups = opened_[opened].row_group_starts();
  const int64_t group = std::ranges::upper_bound(groups, place.row) - groups.begin() - 1;
  return cache_->get(opened_[opened], opened, group)
      ->row(place.row - groups[static_cast<size_t>(group)]);
}

}  // namespace zoetrope
