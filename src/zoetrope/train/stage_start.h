// Where the roles of a stage start: checks `stage:<name>` against the stages before, and puts the
// folders of a run in its place.
#pragma once

#include <filesystem>

#include "zoetrope/train/stage_reference.h"
#include "zoetrope/train/stages.h"

namespace zoetrope {

/// Adds an issue for every `stage:` of stages[index] that names no earlier stage, or one that does
/// not export what is meant.
void check_stage_references(const std::vector<Stage>& stages, size_t index,
                            const TargetTables& tables, config::Issues& issues);

/// `<run folder>/<NN-name>`, counted from 01.
std::filesystem::path stage_folder(const std::vector<Stage>& stages, size_t index);

/// stages[index] as a run of its own: in its folder, starting from folders of the stages before,
/// going on from the newest checkpoint if there is any.
RunConfig stage_run(const std::vector<Stage>& stages, size_t index, const TargetTables& tables);

}  // namespace zoetrope
