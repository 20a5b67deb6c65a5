#include "zoetrope/networks/clip_vision/clip_image_processor.h"

#include <tuple>
#include <utility>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/media/resize.h"
#include "zoetrope/networks/component_config.h"
#include "zoetrope/networks/frame_tensor.h"

namespace zoetrope {
namespace {

constexpr int kPillowBicubic = 3;

// `{"height": h, "width": w}`, or one number for both, as old files have it.
std::pair<int, int> read_height_and_width(const ComponentConfig& file, const std::string& key) {
  const nlohmann::json& size = file.json().at(key);
  if (size.is_number_integer()) return {size.get<int>(), size.get<int>()};
  if (size.is_object() && size.contains("height") && size.contains("width") &&
      size["height"].is_number_integer() && size["width"].is_number_integer()) {
    return {size["height"].get<int>(), size["width"].get<int>()};
  }
  fail<CheckpointError>("{}: '{}' must have a height and a width, but is {}", file.where(), key,
                        size.dump());
}

void read_size(const ComponentConfig& file, ClipImageProcessorConfig& config) {
  if (!file.has("size")) return;
  const nlohmann::json& size = file.json().at("size");
  if (size.is_number_integer()) {
    config.shortest_edge = size.get<int>();
  } else if (size.is_object() && size.size() == 1 && size.contains("shortest_edge") &&
             size["shortest_edge"].is_number_integer()) {
    config.shortest_edge = size["shortest_edge"].get<int>();
  } else {
    config.shortest_edge.reset();
    std::tie(config.height, config.width) = read_height_and_width(file, "size");
  }
}

std::pair<int, int> resized_size(const media::Frame& image,
                                 const ClipImageProcessorConfig& config) {
  if (!config.shortest_edge) return {config.height, config.width};
  const auto longer = [&](int side, int shorter_side) {
    return static_cast<int>(static_cast<double>(*config.shortest_edge) * side / shorter_side);
  };
  if (image.height <= image.width) {
    return {*config.shortest_edge, longer(image.width, image.height)};
  }
  return {longer(image.height, image.width), *config.shortest_edge};
}

at::Tensor per_channel(const std::array<double, 3>& values) {
  return at::tensor(at::ArrayRef<double>(values)).to(at::kFloat).view({3, 1, 1});
}

}  // namespace

ClipImageProcessorConfig read_clip_image_processor_config(
    const std::filesystem::path& image_processor_folder) {
  const ComponentConfig file(image_processor_folder / "preprocessor_config.json");
  for (const char* step : {"do_resize", "do_center_crop", "do_rescale", "do_normalize"}) {
    if (!file.get_or(step, true)) {
      fail<CheckpointError>("{}: '{}' must be true, but is false", file.where(), step);
    }
  }
  if (const int filter = file.get_or("resample", kPillowBicubic); filter != kPillowBicubic) {
    fail<CheckpointError>("{}: 'resample' must be {} (bicubic), but is {}", file.where(),
                          kPillowBicubic, filter);
  }
  ClipImageProcessorConfig config;
  read_size(file, config);
  if (file.has("crop_size")) {
    std::tie(config.crop_height, config.crop_width) = read_height_and_width(file, "crop_size");
  }
  config.rescale_factor = file.get_or("rescale_factor", config.rescale_factor);
  config.image_mean = file.get_or("image_mean", config.image_mean);
  config.image_std = file.get_or("image_std", config.image_std);
  const int height = config.shortest_edge.value_or(config.height);
  const int width = config.shortest_edge.value_or(config.width);
  if (config.crop_height < 1 || config.crop_width < 1 || config.crop_height > height ||
      config.crop_width > width) {
    fail<CheckpointError>("{}: the crop must lie inside the resized {}x{} picture, but is {}x{}",
                          file.where(), height, width, config.crop_height, config.crop_width);
  }
  return config;
}

nlohmann::ordered_json to_json(const ClipImageProcessorConfig& config) {
  nlohmann::ordered_json size = {{"height", config.height}, {"width", config.width}};
  if (config.shortest_edge) size = {{"shortest_edge", *config.shortest_edge}};
  return {{"crop_size", {{"height", config.crop_height}, {"width", config.crop_width}}},
          {"do_center_crop", true},
          {"do_convert_rgb", true},
          {"do_normalize", true},
          {"do_rescale", true},
          {"do_resize", true},
          {"image_mean", config.image_mean},
          {"image_processor_type", "CLIPImageProcessor"},
          {"image_std", config.image_std},
          {"resample", kPillowBicubic},
          {"rescale_factor", config.rescale_factor},
          {"size", size}};
}

at::Tensor process_clip_image(const media::Frame& image, const ClipImageProcessorConfig& config) {
  if (image.width < 1 || image.height < 1) fail<DataError>("CLIP: the picture is empty");
  const auto [height, width] = resized_size(image, config);
  const at::Tensor bytes_HWC = frame_to_tensor(media::resize_bicubic(image, width, height));
  const at::Tensor pixels_CHW =
      bytes_HWC.permute({2, 0, 1})
          .narrow(1, (height - config.crop_height) / 2, config.crop_height)
          .narrow(2, (width - config.crop_width) / 2, config.crop_width)
          .to(at::kFloat)
          .mul(config.rescale_factor);
  return ((pixels_CHW - per_channel(config.image_mean)) / per_channel(config.image_std))
      .contiguous();
}

}  // namespace zoetrope
