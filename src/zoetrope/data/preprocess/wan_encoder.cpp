#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/data/preprocess/sample_encoder.h"
#include "zoetrope/networks/clip_vision/image_embedding.h"
#include "zoetrope/networks/first_frame.h"
#include "zoetrope/networks/frame_tensor.h"
#include "zoetrope/networks/tokenizer/prompt_tokenizer.h"
#include "zoetrope/networks/tokenizer/text_cleaning.h"
#include "zoetrope/networks/umt5/umt5_encoder.h"
#include "zoetrope/networks/wan_vae/wan_vae.h"

namespace zoetrope {
namespace fs = std::filesystem;
namespace {

class WanSampleEncoder : public SampleEncoder {
 public:
  WanSampleEncoder(const fs::path& pipeline_folder, at::Device device,
                   const WanEncoderOptions& options) {
    if (options.with_text) {
      tokenizer_.emplace(pipeline_folder / "tokenizer", options.text_length);
      text_encoder_.emplace(pipeline_folder / "text_encoder", device, options.text_dtype);
    }
    if (options.with_image) image_embedder_.emplace(pipeline_folder, device);
    if (!options.with_video) return;
    vae_.emplace(pipeline_folder / "vae", device, at::kFloat);
    if (options.tiled) vae_->set_tiling(WanVaeTiling{});
  }

  at::Tensor encode_clip(const at::Tensor& pixels_FHWC) override {
    const at::NoGradGuard no_grad;
    const at::Tensor pixels_BCFHW = pixels_FHWC.permute({3, 0, 1, 2}).unsqueeze(0);
    return to_storage(vae_->encode_mean(pixels_BCFHW.to(at::kFloat) / 127.5 - 1.0)[0]);
  }

  FirstFrameFeatures encode_first_frame(const at::Tensor& pixels_FHWC) override {
    const at::NoGradGuard no_grad;
    const at::Tensor first_HWC = pixels_FHWC[0];
    const at::Tensor latents_BCTHW =
        zoetrope::encode_first_frame(*vae_, vae_pixels(first_HWC), pixels_FHWC.size(0));
    return {to_storage(image_embedder_->embed(tensor_to_frame(first_HWC))),
            to_storage(latents_BCTHW[0])};
  }

  at::Tensor encode_text(const std::string& caption) override {
    const at::NoGradGuard no_grad;
    const std::vector<int64_t> ids = tokenizer_->encode(clean_prompt(caption));
    const at::Tensor ids_BL = at::tensor(ids, at::kLong).unsqueeze(0);
    return to_storage(text_encoder_->encode(ids_BL, at::ones_like(ids_BL))[0]);
  }

 private:
  static at::Tensor to_storage(const at::Tensor& tensor) {
    return tensor.to(at::kCPU, at::kFloat).contiguous();
  }

  std::optional<PromptTokenizer> tokenizer_;
  std::optional<Umt5Encoder> text_encoder_;
  std::optional<ImageEmbedder> image_embedder_;
  std::optional<WanVae> vae_;
};

}  // namespace

ClipGrid read_clip_grid(const fs::path& pipeline_folder) {
  const WanVaeConfig config = read_wan_vae_config(pipeline_folder / "vae");
  return {config.temporal_ratio(), config.spatial_ratio()};
}

std::unique_ptr<SampleEncoder> make_wan_encoder(const fs::path& pipeline_folder, at::Device device,
                                                const WanEncoderOptions& options) {
  return std::make_unique<WanSampleEncoder>(pipeline_folder, device, options);
}

}  // namespace zoetrope
