// An endless video that keys steer, block by block, as the page of `zoetrope play` sees it. Knows
// no network and no HTTP.
#pragma once

#include <array>
#include <vector>

#include "zoetrope/media/frame.h"

namespace zoetrope {

/// What is pressed while a block of frames passes.
struct PlayActions {
  std::vector<float> keyboard;          ///< one value for each of the model's keys
  std::array<float, 2> mouse = {0, 0};  ///< movement: up, right

  bool operator==(const PlayActions&) const = default;
};

class PlaySession {
 public:
  PlaySession() = default;
  virtual ~PlaySession() = default;
  PlaySession(const PlaySession&) = delete;
  PlaySession& operator=(const PlaySession&) = delete;

  /// The next frames are the first of a clip.
  virtual void restart() = 0;
  /// The frames that follow, at least one, all of one size.
  virtual std::vector<media::Frame> next_frames(const PlayActions& actions) = 0;
  /// Work for later frames; called when those of next_frames() were handed on.
  virtual void prepare_next() {}
};

}  // namespace zoetrope
