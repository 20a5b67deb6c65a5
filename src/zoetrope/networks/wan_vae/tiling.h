// Spatial tiling with blended seams, so that large frames need the memory of a tile. Knows no
// network. Source: diffusers' AutoencoderKLWan.tiled_encode and tiled_decode (same tiles, same
// blending).
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

namespace zoetrope::wan_vae {

/// Height and width.
struct Size {
  int64_t height = 0;
  int64_t width = 0;
};

struct TileGrid {
  Size input_size;     ///< of a tile in the input; tiles at the lower and right border are smaller
  Size input_stride;   ///< between tiles in the input
  Size output_size;    ///< what a full tile becomes
  Size output_stride;  ///< what is kept of a tile; the rest of it is blended into its neighbours
};

/// Applies `process` to the tiles of `input_BCTHW` (last two dimensions) and joins the results,
/// blending each with the tile above and then the one to the left over output_size - output_stride
/// rows and columns.
at::Tensor process_in_tiles(const at::Tensor& input_BCTHW, const TileGrid& grid,
                            const std::function<at::Tensor(const at::Tensor&)>& process);

}  // namespace zoetrope::wan_vae
