#include "zoetrope/networks/wan_vae/tiling.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

namespace zoetrope::wan_vae {
namespace {

// Blends the first `extent` entries of `tile` along `dim` with the last ones of `before`, in place:
// neighbours further on see blended tiles, as in the reference.
void blend(const at::Tensor& before, at::Tensor& tile, int64_t extent, int64_t dim) {
  extent = std::min({before.size(dim), tile.size(dim), extent});
  if (extent <= 0) return;
  std::vector<int64_t> shape(tile.dim(), 1);
  shape[dim] = extent;
  const at::Tensor weight = (at::arange(extent, tile.options()) / extent).reshape(shape);
  at::Tensor start = tile.narrow(dim, 0, extent);
  start.copy_(before.narrow(dim, before.size(dim) - extent, extent) * (1.0 - weight) +
              start * weight);
}

at::Tensor first(const at::Tensor& tensor, int64_t dim, int64_t count) {
  return tensor.narrow(dim, 0, std::min(count, tensor.size(dim)));
}

constexpr int64_t kHeight = 3;
constexpr int64_t kWidth = 4;

}  // namespace

at::Tensor process_in_tiles(const at::Tensor& input_BCTHW, const TileGrid& grid,
                            const std::function<at::Tensor(const at::Tensor&)>& process) {
  const int64_t height = input_BCTHW.size(kHeight);
  const int64_t width = input_BCTHW.size(kWidth);
  const int64_t blend_height = grid.output_size.height - grid.output_stride.height;
  const int64_t blend_width = grid.output_size.width - grid.output_stride.width;
  std::vector<at::Tensor> joined_rows;
  std::vector<at::Tensor> row_above;
  for (int64_t top = 0; top < height; top += grid.input_stride.height) {
    const at::Tensor band =
        input_BCTHW.narrow(kHeight, top, std::min(grid.input_size.height, height - top));
    std::vector<at::Tensor> row;
    std::vector<at::Tensor> kept;
    for (int64_t left = 0; left < width; left += grid.input_stride.width) {
      at::Tensor tile =
          process(band.narrow(kWidth, left, std::min(grid.input_size.width, width - left)));
      if (!row_above.empty()) blend(row_above[row.size()], tile, blend_height, kHeight);
      if (!row.empty()) blend(row.back(), tile, blend_width, kWidth);
      kept.push_back(
          first(first(tile, kHeight, grid.output_stride.height), kWidth, grid.output_stride.width));
      row.push_back(tile);
    }
    joined_rows.push_back(at::cat(kept, kWidth));
    row_above = std::move(row);
  }
  const at::Tensor joined = at::cat(joined_rows, kHeight);
  return first(first(joined, kHeight, height * grid.output_size.height / grid.input_size.height),
               kWidth, width * grid.output_size.width / grid.input_size.width);
}

}  // namespace zoetrope::wan_vae
