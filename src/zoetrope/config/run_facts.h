// What a method's config is told of the rest of its run, so that it can say what does not fit
// before anything is loaded. Plain values; knows no component.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace zoetrope::config {

struct RunFacts {
  int64_t num_latent_frames = 0;  ///< training.data.num_latent_t
  bool has_latents = true;        ///< whether the rows that the student reads hold videos
  /// By role, of the causal models whose config says how many frames a block has; what it leaves to
  /// the checkpoint is not known yet.
  std::map<std::string, int64_t> frames_per_block = {};
};

}  // namespace zoetrope::config
