#include "zoetrope/data/preprocess/row_builder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr int64_t kTextCacheBytes = int64_t{512} << 20;

at::Tensor require_finite(at::Tensor tensor, const char* encoder, const std::string& what) {
  if (!at::isfinite(tensor).all().item<bool>())
    fail("{}: must give finite numbers, but does not for {}", encoder, what);
  return tensor;
}

}  // namespace

at::Tensor RowBuilder::encode_text(const std::string& caption) {
  if (const auto found = texts_.find(caption); found != texts_.end()) return found->second;
  at::Tensor embedding_LD = require_finite(encoder_.encode_text(caption), "text encoder", caption);
  if (text_bytes_ > kTextCacheBytes) {
    texts_.clear();
    text_bytes_ = 0;
  }
  text_bytes_ += static_cast<int64_t>(embedding_LD.nbytes());
  return texts_.emplace(caption, std::move(embedding_LD)).first->second;
}

void RowBuilder::add_first_frame(const SourceEntry& source, const ClipEvent& event,
                                 ParquetRow& row) {
  FirstFrameFeatures features = encoder_.encode_first_frame(event.pixels_FHWC);
  const std::string video = source.video.string();
  row.tensors["clip_feature"] =
      require_finite(std::move(features.clip_feature_LD), "image encoder", video);
  row.tensors["first_frame_latent"] = require_finite(std::move(features.latent_CTHW), "VAE", video);
}

ParquetRow RowBuilder::clip_row(const SourceEntry& source, const ClipEvent& event) {
  const at::Tensor& pixels_FHWC = event.pixels_FHWC;
  at::Tensor latent_CTHW =
      require_finite(encoder_.encode_clip(pixels_FHWC), "VAE", source.video.string());
  // Wordings take turns over the clips of a video.
  const std::string caption =
      source.captions.empty()
          ? ""
          : source.captions[static_cast<size_t>(event.place.clip) % source.captions.size()];
  ParquetRow row;
  row.texts = {
      {"id", one_clip_ ? source.id : fmt::format("{}_clip{:04}", source.id, event.place.clip)},
      {"file_name", source.name},
      {"caption", caption},
      {"media_type", "video"}};
  row.integers = {{"width", pixels_FHWC.size(2)},
                  {"height", pixels_FHWC.size(1)},
                  // latent frames, as FastVideo counts them
                  {"num_frames", latent_CTHW.size(1)}};
  row.numbers = {{"fps", fps_}, {"duration_sec", static_cast<double>(pixels_FHWC.size(0)) / fps_}};
  row.tensors["vae_latent"] = std::move(latent_CTHW);
  if (schema_.has_tensor("text_embedding")) row.tensors["text_embedding"] = encode_text(caption);
  if (schema_.has_tensor("first_frame_latent")) add_first_frame(source, event, row);
  if (event.actions.keyboard_FK.defined()) row.tensors["keyboard_cond"] = event.actions.keyboard_FK;
  if (event.actions.mouse_F2.defined()) row.tensors["mouse_cond"] = event.actions.mouse_F2;
  return row;
}

ParquetRow RowBuilder::text_row(const SourceEntry& source, int64_t caption) {
  const std::string& text = source.captions[static_cast<size_t>(caption)];
  ParquetRow row;
  row.texts = {{"id", caption == 0 ? fmt::format("text_{}", source.id)
                                   : fmt::format("text_{}_{}", source.id, caption)},
               {"caption", text}};
  row.tensors = {{"text_embedding", encode_text(text)}};
  return row;
}

}  // namespace zoetrope
