// FastVideo's targets that are not built here, with the keys they take: a config that uses one is
// checked like any other and fails with exactly one clear fault.
#pragma once

#include <string>
#include <vector>

#include "zoetrope/config/registry.h"

namespace zoetrope {

/// The last name of `path` under each of its packages, `a.b.c.Class` -> `a.b.Class`, `a.Class`...,
/// down to three parts before the class; and `short_name`.
std::vector<std::string> target_aliases(const std::string& path, const std::string& short_name);

void add_planned_models(config::TargetTable& models);
void add_planned_methods(config::TargetTable& methods);

}  // namespace zoetrope
