// The tokenizer of T5-family text encoders: SentencePiece's normalisation, then the unigram
// segmentation of Hugging Face's fast tokenizers, whose ids pipelines use. They differ from
// SentencePiece's own: an unknown run of characters is one unknown token, not bytes, and special
// tokens written in the text are recognised. Source: Kudo 2018 (unigram segmentation); ids equal to
// transformers' T5TokenizerFast.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// Token ids of a batch of prompts, padded at the end. B prompts, L = max_length.
struct TokenizedPrompts {
  at::Tensor ids_BL;   ///< int64
  at::Tensor mask_BL;  ///< int64, 1 for tokens and 0 for padding
};

class PromptTokenizer {
 public:
  /// Loads `tokenizer_folder`/spiece.model, and the special tokens of tokenizer_config.json or
  /// tokenizer.json when they list any. Throws CheckpointError when the model is missing or
  /// damaged.
  explicit PromptTokenizer(const std::filesystem::path& tokenizer_folder, int64_t max_length = 512);
  ~PromptTokenizer();
  PromptTokenizer(PromptTokenizer&&) noexcept;
  PromptTokenizer& operator=(PromptTokenizer&&) noexcept;

  int64_t max_length() const { return max_length_; }
  /// Number of ids.
  int64_t vocabulary_size() const;

  /// Ids of `text` (UTF-8, already cleaned), cut to max_length - 1, then the end-of-sequence token.
  std::vector<int64_t> encode(std::string_view text) const;
  /// encode() of each, padded with 0 to max_length.
  TokenizedPrompts encode_padded(const std::vector<std::string>& texts) const;

 private:
  class Vocabulary;

  int64_t max_length_;
  std::unique_ptr<const Vocabulary> vocabulary_;
};

}  // namespace zoetrope
