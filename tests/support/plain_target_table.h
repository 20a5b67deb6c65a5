// A table of targets that are nothing but their configs.
#pragma once

#include <string>

#include "zoetrope/config/registry.h"

namespace zoetrope::test {

class PlainTargetTable : public config::TargetTable {
 public:
  using TargetTable::TargetTable;
  /// The target `package.<alias>` with the config `Config`.
  template <class Config>
  void add(const std::string& alias) {
    add_target({kind(), "package." + alias, {alias}, "For tests.", &config::schema_of<Config>()});
  }
};

}  // namespace zoetrope::test
