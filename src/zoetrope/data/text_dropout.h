// Which samples train without their text (classifier-free guidance). The decision belongs to the
// sample, so it does not depend on workers, ranks or resuming. Source: fastvideo/dataset/utils.py;
// Matsumoto & Nishimura 1998 (MT19937).
#pragma once

#include <cstdint>

#include "zoetrope/data/sample_order.h"

namespace zoetrope {

/// The first number in [0, 1) that CPython's `random.Random(seed).random()` gives.
double python_random(int64_t seed);

/// Whether the text of `slot` is dropped with probability `rate`. FastVideo's order decides as
/// FastVideo does: once per row for the whole run; the keyed order decides anew in every epoch.
bool drops_text(const SampleSlot& slot, SampleOrderKind kind, int64_t seed, double rate);

}  // namespace zoetrope
