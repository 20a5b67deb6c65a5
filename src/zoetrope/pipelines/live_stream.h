// A clip without end that is steered while it is made: the actions of a block become known when it
// begins, and only those that the network still looks at are kept, so that memory does not grow.
// Knows no keys and no page.
#pragma once

#include <optional>
#include <vector>

#include "zoetrope/media/frame.h"
#include "zoetrope/pipelines/causal_pipeline.h"

namespace zoetrope {

struct LiveStreamOptions {
  int64_t num_height = 0;  ///< pixels
  int64_t num_width = 0;   ///< pixels
  SamplingOptions sampling;
  /// Latent frames before a block whose actions the network looks at again.
  int64_t num_past_frames = 3;
};

/// What holds for all pixel frames of a block; undefined where the network takes none.
struct BlockActions {
  at::Tensor keyboard_11K;
  at::Tensor mouse_112;
};

class LiveStream {
 public:
  /// `vae` must outlive the stream. Throws DataError for sizes that do not fit it.
  LiveStream(const StreamingNetwork& network, const WanVae& vae, const LiveStreamOptions& options,
             const NamedNoise& noise);

  /// Begins a clip. `conditions` are its text, its image embedding, and image latents of its first
  /// frames, the last of which stand for all frames after them; no actions.
  void start(const GuidedConditioning& conditions);
  /// The next block's pixel frames: 4 (n - 1) + 1 of the first block of n latent frames, then 4 n.
  std::vector<media::Frame> next(const BlockActions& actions);
  /// Lets later blocks see the last one; next() does it where it was not called. Worth a call
  /// while nobody waits for frames.
  void commit();
  /// Latent frames of the clip so far.
  int64_t num_frames() const { return next_.first; }
  int64_t num_frames_per_block() const { return next_.size; }

 private:
  struct Uncommitted {
    FrameBlock block;
    GuidedRows guided;
    at::Tensor clean_BCTHW;
  };

  GuidedConditioning conditions_of_next(const BlockActions& actions);

  const WanVae& vae_;
  LiveStreamOptions options_;
  BlockStream stream_;
  std::vector<int64_t> shape_BCTHW_;
  GuidedConditioning clip_;  ///< as given
  Conditioning past_;        ///< actions of the last frames
  FrameBlock next_;
  WanVaeDecoding decoding_;
  std::optional<Uncommitted> uncommitted_;
};

}  // namespace zoetrope
