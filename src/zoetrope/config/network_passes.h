// What a training method asks of its roles' networks, so that a run's memory, work and traffic can
// be planned from the config alone (zoetrope plan). Plain numbers; knows no tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace zoetrope::config {

/// Passes of one network that a micro-batch makes one after the other.
struct NetworkPasses {
  enum class Kind {
    kClip,           ///< all frames at once
    kTeacherForced,  ///< the clean clip in front of the noisy one: twice the frames
    kBlocks,         ///< block by block, from a cache of keys and values
  };

  std::string role;
  std::string purpose;  ///< `rollout`, `score`, `loss`
  Kind kind = Kind::kClip;
  /// Over the whole clip; the mean where it is drawn.
  double num_passes = 1.0;
  int64_t rows = 1;  ///< clips for each of the batch: 2 with and without the prompt
  /// Whether gradient flows through it, from when it is made until the micro-batch ends.
  bool differentiable = false;
  /// Every how many steps it is made: the student's part of a distillation.
  int64_t every_steps = 1;
  int64_t block_frames = 0;  ///< kBlocks: latent frames of a block
  /// Latent frames that go through the network; none: those of the run's clips.
  std::optional<int64_t> num_frames = {};
};

/// In the order in which a step makes them.
struct MethodWork {
  std::vector<NetworkPasses> passes;
  /// Frozen roles of which the method keeps an fp32 average.
  std::vector<std::string> averaged_roles = {};
};

}  // namespace zoetrope::config
