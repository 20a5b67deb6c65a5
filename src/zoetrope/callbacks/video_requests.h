// From the items of a validation file (or a command line) to what the generator takes: pictures and
// actions are read and fitted to the video.
#pragma once

#include "zoetrope/callbacks/validation_prompts.h"
#include "zoetrope/pipelines/video_generator.h"

namespace zoetrope {

/// What a network is conditioned on.
struct VideoInputs {
  bool text = true;
  bool image = false;
  bool actions = false;
};

/// The inputs of a network that trains on rows of the parquet schema `data_type`.
VideoInputs video_inputs(const std::string& data_type);

/// The video of `prompt`, whose noise is named `noise_index`. Of its media those are read that the
/// network takes: the picture is cropped and resized to the video's size as preprocessing does,
/// actions are cut to its length. Throws DataError when the network takes an image and the item has
/// none, when a file cannot be read, and when there are fewer actions than frames.
VideoRequest make_video_request(const ValidationPrompt& prompt, int64_t noise_index,
                                const VideoOptions& options, const VideoInputs& inputs);

}  // namespace zoetrope
