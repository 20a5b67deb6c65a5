// All faults of a config, collected before anything is thrown.
#pragma once

#include <string>
#include <vector>

#include "zoetrope/config/node.h"

namespace zoetrope::config {

/// Collects `file:line: dotted.path: what must hold, but got what; hint`.
class Issues {
 public:
  /// `path` is dotted from the document's root, for example `training.optimizer.learning_rate`.
  void add(const Location& location, const std::string& path, const std::string& message);
  /// A note that does not fail the config (a key without effect here); printed once.
  void note(const Location& location, const std::string& path, const std::string& message);

  bool ok() const { return faults_.empty(); }
  /// In the order of the document: by source, then by line.
  std::vector<std::string> faults() const { return texts(faults_); }
  std::vector<std::string> notes() const { return texts(notes_); }
  /// Throws one ConfigError that lists every fault, unless there is none.
  void throw_if_any() const;

 private:
  struct Entry {
    Location location;
    std::string text;
  };
  static void insert(std::vector<Entry>& entries, Entry entry);
  static std::vector<std::string> texts(const std::vector<Entry>& entries);

  std::vector<Entry> faults_;
  std::vector<Entry> notes_;
};

}  // namespace zoetrope::config
