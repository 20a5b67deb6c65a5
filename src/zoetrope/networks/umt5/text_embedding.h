// From a prompt to the text embedding that Wan transformers are conditioned on: cleaning, tokens,
// UMT5, without padding; and the zero padding that is put back when a batch is made.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "zoetrope/networks/tokenizer/prompt_tokenizer.h"
#include "zoetrope/networks/umt5/umt5_encoder.h"

namespace zoetrope {

/// Tokens of text that Wan transformers see, padding included.
inline constexpr int64_t kWanTextLength = 512;

/// The negative prompt of Wan's T2V presets, in English.
extern const char* const kWanNegativePrompt;

/// Where `tokenizer/` and `text_encoder/` lie and how to run the encoder.
struct TextEmbedderOptions {
  std::filesystem::path tokenizer_folder;
  std::filesystem::path text_encoder_folder;
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
};

class TextEmbedder {
 public:
  /// Throws CheckpointError when a folder is missing or damaged, or when the tokenizer has more ids
  /// than the encoder.
  explicit TextEmbedder(const TextEmbedderOptions& options);

  /// Embedding [L, D] of the cleaned `prompt` in the encoder's type, L its number of tokens with
  /// end of sequence, at most kWanTextLength. An empty prompt is one token. Throws DataError when
  /// the prompt is not UTF-8.
  at::Tensor embed(std::string_view prompt) const;
  /// Width D.
  int64_t width() const { return encoder_.config().d_model; }

 private:
  PromptTokenizer tokenizer_;
  Umt5Encoder encoder_;
};

/// [B, length, D]: each of `embeddings_LD` followed by zeros, cut to `length`. All of the same
/// width, type and device.
at::Tensor pad_text_embeddings(const std::vector<at::Tensor>& embeddings_LD,
                               int64_t length = kWanTextLength);

}  // namespace zoetrope
