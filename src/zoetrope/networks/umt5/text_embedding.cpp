#include "zoetrope/networks/umt5/text_embedding.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/networks/tokenizer/text_cleaning.h"

namespace zoetrope {

const char* const kWanNegativePrompt =
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, "
    "images, static, overall gray, "
    "worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly "
    "drawn hands, poorly "
    "drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy "
    "background, three legs, many "
    "people in the background, walking backwards";

TextEmbedder::TextEmbedder(const TextEmbedderOptions& options)
    : tokenizer_(options.tokenizer_folder, kWanTextLength),
      encoder_(options.text_encoder_folder, options.device, options.dtype) {
  if (tokenizer_.vocabulary_size() > encoder_.config().vocab_size) {
    fail<CheckpointError>(
        "{}: vocab_size must be at least the tokenizer's {}, but is {}; the folders do not belong "
        "together",
        options.text_encoder_folder.string(), tokenizer_.vocabulary_size(),
        encoder_.config().vocab_size);
  }
}

at::Tensor TextEmbedder::embed(std::string_view prompt) const {
  // Padding would be masked and cut off again, so it is not encoded at all.
  const at::Tensor ids_1L =
      at::tensor(tokenizer_.encode(clean_prompt(prompt)), at::kLong).unsqueeze(0);
  return encoder_.encode(ids_1L, at::ones_like(ids_1L)).squeeze(0);
}

at::Tensor pad_text_embeddings(const std::vector<at::Tensor>& embeddings_LD, int64_t length) {
  if (embeddings_LD.empty())
    fail<DataError>("text embeddings: must be at least one, but there are none");
  const int64_t width = embeddings_LD.front().size(-1);
  at::Tensor padded_BLD = at::zeros({static_cast<int64_t>(embeddings_LD.size()), length, width},
                                    embeddings_LD.front().options());
  for (size_t row = 0; row < embeddings_LD.size(); ++row) {
    const at::Tensor& embedding = embeddings_LD[row];
    if (embedding.dim() != 2 || embedding.size(1) != width) {
      fail<DataError>("text embeddings: must be [L, {}], but one has shape {}", width,
                      format_shape(embedding.sizes()));
    }
    const int64_t kept = std::min(length, embedding.size(0));
    padded_BLD[static_cast<int64_t>(row)].narrow(0, 0, kept).copy_(embedding.narrow(0, 0, kept));
  }
  return padded_BLD;
}

}  // namespace zoetrope
