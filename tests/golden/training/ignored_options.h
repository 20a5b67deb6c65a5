// Options that the reference reads and does not apply (docs/differences.md). A recorded run had the
// values below, whatever its config says.
#pragma once

#include "zoetrope/catalog.h"
#include "zoetrope/config/node.h"

namespace zoetrope::test {

/// Sets them to what the reference does: Self-Forcing draws score timesteps from the whole range,
/// the teacher of knowledge distillation is not guided, and a min_lr_ratio of 0 is 0.5.
void apply_as_the_reference_does(config::Node& document, const Catalog& catalog);

}  // namespace zoetrope::test
