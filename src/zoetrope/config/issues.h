// All faults of a config, collected before anything is thrown.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "zoetrope/config/node.h"

namespace zoetrope::config {

/// Collects `file:line: dotted.path: what must hold, but got what; hint`.
class Issues {
 public:
  /// `path` is dotted from the document's root, for example `training.optimizer.learning_rate`.
  void add(const Location& location, const std::string& path, const std::string& message);
  /// A note that does not fail the config (a key without effect here).
  void note(const Location& location, const std::string& path, const std::string& message);

  /// Takes over the issues of documents that share text, each with what to call it. A fault that
  /// not all of them have says whose it is.
  void add_parts(const std::vector<std::pair<std::string, Issues>>& parts);

  bool ok() const { return faults_.empty(); }
  /// In the order of the document: by source, then by line.
  std::vector<std::string> faults() const;
  /// In the same order; notes of the same words are one, which names all their places.
  std::vector<std::string> notes() const;
  /// Throws one ConfigError that lists every fault, unless there is none.
  void throw_if_any() const;

 private:
  struct Entry {
    Location location;
    std::string place;
    std::string message;

    bool says_the_same(const Entry& other) const {
      return place == other.place && message == other.message;
    }
  };
  static void insert(std::vector<Entry>& entries, Entry entry);

  std::vector<Entry> faults_;
  std::vector<Entry> notes_;
};

}  // namespace zoetrope::config
