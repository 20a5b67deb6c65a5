#include "zoetrope/callbacks/video_requests.h"

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/data/actions/action_file.h"
#include "zoetrope/data/parquet_schema.h"
#include "zoetrope/media/image.h"
#include "zoetrope/media/resize.h"
#include "zoetrope/media/video_reader.h"

namespace zoetrope {
namespace {

media::Frame read_first_frame(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  if (ending == ".png" || ending == ".jpg" || ending == ".jpeg") return media::read_image(path);
  media::VideoReader reader(path);
  reader.next();
  media::Frame frame;
  reader.copy_to(frame);
  return frame;
}

at::Tensor first_rows(const at::Tensor& actions_F, int64_t num_frames,
                      const std::filesystem::path& path) {
  if (!actions_F.defined()) return {};
  if (actions_F.size(0) < num_frames) {
    fail<DataError>("{}: must have a row for each of the video's {} frames, but has {}",
                    path.string(), num_frames, actions_F.size(0));
  }
  return actions_F.narrow(0, 0, num_frames);
}

}  // namespace

VideoInputs video_inputs(const std::string& data_type) {
  const ParquetSchema& schema = parquet_schema(data_type);
  return {schema.has_tensor("text_embedding"), schema.has_tensor("clip_feature"),
          schema.has_tensor("keyboard_cond")};
}

VideoRequest make_video_request(const ValidationPrompt& prompt, int64_t noise_index,
                                const VideoOptions& options, const VideoInputs& inputs) {
  VideoRequest request{prompt.caption, noise_index};
  if (inputs.image) {
    if (prompt.image.empty()) {
      fail<DataError>("video {} (\"{}\"): must have an image to begin with, but has none",
                      noise_index, prompt.caption);
    }
    request.first_frame = media::resize_and_center_crop(read_first_frame(prompt.image),
                                                        static_cast<int>(options.num_width),
                                                        static_cast<int>(options.num_height));
  }
  if (inputs.actions && !prompt.actions.empty()) {
    const FrameActions actions = read_action_file(prompt.actions);
    request.keyboard_FK = first_rows(actions.keyboard_FK, options.num_frames, prompt.actions);
    request.mouse_F2 = first_rows(actions.mouse_F2, options.num_frames, prompt.actions);
  }
  return request;
}

}  // namespace zoetrope
