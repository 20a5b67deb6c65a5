// A model that can generate a clip chunk by chunk: what CausalModelBase adds to ModelBase. Knows no
// algorithm. Source: the training architecture document's CausalModelBase; FastVideo
// train/models/base.py.
#pragma once

#include <string>

#include "zoetrope/models/model.h"
#include "zoetrope/tensor/state_dict.h"

namespace zoetrope {

struct StreamingNetwork;

/// How a streaming prediction uses a cache.
struct StreamingOptions {
  /// Which of the model's caches: one for every conditioning that is streamed at the same time.
  std::string cache_tag = "pos";
  /// Whether later chunks shall see this one as it is in this call; such a call has no gradient.
  bool store_kv = false;
  int64_t cur_start_frame = 0;  ///< of the chunk in the clip
};

/// predict_noise of a causal model lets every block of frames see itself and the past;
/// its timestep is [B] or [B, T].
class CausalModelBase : public virtual ModelBase {
 public:
  /// Frames of a block, which see each other.
  virtual int64_t num_frames_per_block() const = 0;

  /// Empties the cache `cache_tag`, if there is one: before another clip, and when weights changed
  /// unless what they made before shall stay.
  /// Gradients that are still to come do not mind.
  virtual void clear_caches(const std::string& cache_tag) = 0;
  /// Copies of what the cache `cache_tag` holds, for checkpoints: all that a streamed clip needs to
  /// go on with the same bits, also where weights have changed since it was filled. Empty when
  /// there is nothing.
  virtual StateDict cache_state(const std::string& cache_tag) const = 0;
  /// Fills the cache with a cache_state() of a clip; the next calls come with `conditioning`.
  /// Throws CheckpointError when it is of another network.
  virtual void load_cache_state(const std::string& cache_tag, const StateDict& state,
                                const Conditioning& conditioning) = 0;
  /// The velocity of a chunk of frames that sees itself and the cache. `timestep` is a scalar, [B]
  /// or [B, T]. With grad mode on and no store_kv, gradient flows through the chunk alone. Throws
  /// Error when the cache holds a clip of another batch or size, when the chunk does not continue
  /// it, and when there is no room.
  virtual at::Tensor predict_noise_streaming(const at::Tensor& noisy_BTCHW,
                                             const at::Tensor& timestep,
                                             const Conditioning& conditioning,
                                             const StreamingOptions& options) = 0;
  /// predict_noise_streaming, converted to the clean latents.
  virtual at::Tensor predict_x0_streaming(const at::Tensor& noisy_BTCHW, const at::Tensor& timestep,
                                          const Conditioning& conditioning,
                                          const StreamingOptions& options) = 0;
  /// predict_noise where every block sees itself and the clean frames before it.
  virtual at::Tensor predict_noise_teacher_forced(const at::Tensor& noisy_BTCHW,
                                                  const at::Tensor& timestep,
                                                  const Conditioning& conditioning,
                                                  const at::Tensor& clean_BTCHW) = 0;
  /// The network for sampling clips of `num_frames` latent frames or fewer (with a bounded window
  /// up to the result's max_frames), with the weights of the moment and a cache of its own; valid
  /// as long as the model.
  virtual StreamingNetwork streaming_network(int64_t num_frames) = 0;
};

}  // namespace zoetrope
