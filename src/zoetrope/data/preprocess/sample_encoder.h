// What turns pixels and captions into what is stored. An interface, so that the work around it can
// be tested without networks; the Wan encoder is the one that is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// What image-to-video models are told of a clip's first frame, fp32 on the CPU.
struct FirstFrameFeatures {
  at::Tensor clip_feature_LD;  ///< tokens of the image encoder
  at::Tensor latent_CTHW;      ///< normalised, of the frame and then zeros
};

class SampleEncoder {
 public:
  virtual ~SampleEncoder() = default;
  /// pixels: uint8 [F, H, W, 3] -> the VAE's mean, not normalised: fp32 [C, T, h, w] on the CPU.
  virtual at::Tensor encode_clip(const at::Tensor& pixels_FHWC) = 0;
  /// The first of `pixels`, as it is stored beside the clip.
  virtual FirstFrameFeatures encode_first_frame(const at::Tensor& pixels_FHWC) = 0;
  /// caption -> fp32 [L, D] on the CPU, without padding.
  virtual at::Tensor encode_text(const std::string& caption) = 0;
};

/// Which frame counts and sizes a VAE takes.
struct ClipGrid {
  int64_t temporal_ratio = 4;  ///< frames must be 1 + k * this
  int64_t spatial_ratio = 8;   ///< height and width must be multiples of this
};

struct WanEncoderOptions {
  at::ScalarType text_dtype = at::kFloat;  ///< the text encoder's; fp32 or bf16
  int64_t text_length = 512;               ///< longer captions are cut
  bool with_video = true;                  ///< false leaves the VAE out
  bool with_text = true;                   ///< false leaves tokenizer and text encoder out
  bool with_image = false;                 ///< loads the image encoder, too
  bool tiled = false;                      ///< encode in spatial tiles, for less memory
};

/// The grid of a pipeline folder's VAE, from its config alone.
ClipGrid read_clip_grid(const std::filesystem::path& pipeline_folder);

/// What `options` asks for of a Wan pipeline folder. VAE and image encoder run in fp32.
std::unique_ptr<SampleEncoder> make_wan_encoder(const std::filesystem::path& pipeline_folder,
                                                at::Device device,
                                                const WanEncoderOptions& options);

}  // namespace zoetrope
