// What the action modules of one pass share: each latent frame's window of mouse and keyboard rows,
// temporal positions, and which frames see which. Knows no parameters. Source: Matrix-Game 2.0 (He
// et al., 2508.13009). Legend: B batch, F pixel frames, T latent frames of the pass, K keys, R
// rows.
#pragma once

#include <memory>
#include <vector>

#include "zoetrope/networks/wan_game/action_config.h"
#include "zoetrope/networks/wan_transformer/causal_attention.h"
#include "zoetrope/networks/wan_transformer/rotary_embedding.h"

namespace zoetrope {

/// One row for each pixel frame of the whole clip (but see first_row); undefined where the network
/// takes none.
struct Actions {
  at::Tensor keyboard_BFK;
  at::Tensor mouse_BF2;
  int64_t first_row = 0;  ///< pixel frame of the first row; above 0 in streams without end

  bool given() const { return keyboard_BFK.defined() || mouse_BF2.defined(); }
};

/// Which latent frames of the clip a pass is over.
struct ActionFrames {
  std::vector<int64_t> positions;  ///< of each latent frame of the pass in the clip
  int64_t tokens_per_frame = 0;
};

struct ActionContext {
  int64_t num_frames = 0;
  at::Tensor mouse_windows_BTE;       ///< the flattened windows, or undefined without a mouse
  at::Tensor keyboard_BRK;            ///< the rows that windows hold, or undefined
  at::Tensor keyboard_window_rows;    ///< int64 [T * window rows]: places in keyboard_BRK
  RotaryTables rotary;                ///< of the frames
  RotaryTables token_rotary;          ///< of the tokens, by their frame; only with a keyboard
  AttentionRegions mouse_regions;     ///< frames by frames; empty where all see all
  AttentionRegions keyboard_regions;  ///< tokens by frames; empty where all see all
};

/// A latent frame sees the window_rows() rows before the pixel frames of its own: those of frame t
/// are rows [r (t - w), r t), where rows before the first are the first. `regions` (in tokens of
/// the pass) may be null. Throws Error when rows are missing or of another width than `config` has.
std::shared_ptr<const ActionContext> make_action_context(const ActionConfig& config,
                                                         const Actions& actions,
                                                         const ActionFrames& frames,
                                                         const AttentionRegions* regions,
                                                         const at::TensorOptions& options);

}  // namespace zoetrope
