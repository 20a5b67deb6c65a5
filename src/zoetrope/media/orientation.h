// Turns pictures upright as a file's display matrix says: phones store what their sensor saw, and
// how to turn or mirror it for showing. Knows no file and no FFmpeg.
#pragma once

#include <cstdint>

#include "zoetrope/media/frame.h"

namespace zoetrope::media {

/// How a stored picture is shown: its axes swapped (a quarter turn) or not, then each axis of the
/// result reversed or not.
struct Orientation {
  bool swaps_axes = false;
  bool reverses_x = false;
  bool reverses_y = false;

  bool is_upright() const { return *this == Orientation{}; }
  bool operator==(const Orientation&) const = default;
};

/// The nearest orientation of a display matrix: 9 numbers a b u c d v x y w, by rows, of which a
/// point (p, q) makes (a p + c q, b p + d q), as QuickTime and ISO 14496-12 store it. Upright when
/// the matrix is degenerate.
Orientation orientation_of(const int32_t* display_matrix);

/// `frame` as it is shown.
Frame turn_upright(const Frame& frame, const Orientation& orientation);

}  // namespace zoetrope::media
