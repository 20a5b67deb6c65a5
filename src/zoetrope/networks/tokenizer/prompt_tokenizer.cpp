#include "zoetrope/networks/tokenizer/prompt_tokenizer.h"

#include <algorithm>
#include <charconv>
#include <map>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>
#include <sentencepiece_processor.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/networks/tokenizer/unigram.h"

namespace zoetrope {
namespace {

using nlohmann::json;

constexpr std::string_view kSpaceMark = "\u2581";

using SpecialTokens = std::map<std::string, int64_t, std::greater<>>;

json read_json_if_there(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return json::object();
  json parsed = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) fail<CheckpointError>("{}: must be a JSON object", path.string());
  return parsed;
}

// Tokens that are recognised in the text as it is: written by id in tokenizer_config.json, or in
// tokenizer.json, or else the model's control symbols.
SpecialTokens read_special_tokens(const std::filesystem::path& folder,
                                  const sentencepiece::SentencePieceProcessor& model) {
  SpecialTokens tokens;
  const json config = read_json_if_there(folder / "tokenizer_config.json");
  if (const auto found = config.find("added_tokens_decoder");
      found != config.end() && found->is_object()) {
    for (const auto& [id, token] : found->items()) tokens[token.at("content")] = std::stoll(id);
  }
  if (!tokens.empty()) return tokens;
  const json fast = read_json_if_there(folder / "tokenizer.json");
  if (const auto found = fast.find("added_tokens"); found != fast.end() && found->is_array()) {
    for (const json& token : *found) tokens[token.at("content")] = token.at("id");
  }
  if (!tokens.empty()) return tokens;
  for (int id = 0; id < model.GetPieceSize(); ++id) {
    if (model.IsControl(id) || model.IsUnknown(id)) tokens[model.IdToPiece(id)] = id;
  }
  return tokens;
}

// The byte that a byte piece such as `<0xE2>` stands for.
char byte_of_piece(std::string_view piece) {
  unsigned value = 0;
  std::from_chars(piece.data() + 3, piece.data() + 5, value, 16);
  return static_cast<char>(value);
}

// Words of normalised text: each starts with the mark that stands for a space.
std::vector<std::string_view> split_words(std::string_view normalized) {
  std::vector<std::string_view> words;
  while (!normalized.empty()) {
    const size_t next = normalized.find(kSpaceMark, kSpaceMark.size());
    words.push_back(normalized.substr(0, next));
    normalized.remove_prefix(std::min(next, normalized.size()));
  }
  return words;
}

}  // namespace

class PromptTokenizer::Vocabulary {
 public:
  explicit Vocabulary(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "spiece.model";
    const auto status = model_.LoadFromSerializedProto(read_file(path));
    if (!status.ok())
      fail<CheckpointError>("{}: must be a SentencePiece model, but {}", path.string(),
                            status.ToString());
    special_tokens_ = read_special_tokens(folder, model_);
    const int size = model_.GetPieceSize();
    std::vector<std::string> pieces;
    std::vector<double> scores;
    for (int id = 0; id < size; ++id) {
      pieces.push_back(model_.IdToPiece(id));
      scores.push_back(model_.GetScore(id));
    }
    vocabulary_size_ = size;
    for (const auto& [token, id] : special_tokens_)
      vocabulary_size_ = std::max(vocabulary_size_, id + 1);
    unigram_ = std::make_unique<UnigramModel>(pieces, scores, model_.unk_id());
  }

  int64_t size() const { return vocabulary_size_; }
  int64_t end_of_sequence() const { return model_.eos_id(); }

  /// Ids of `text` without end of sequence.
  std::vector<int64_t> encode(std::string_view text) const {
    std::vector<int64_t> ids;
    size_t plain_start = 0;
    for (size_t at = 0; at < text.size();) {
      const auto special = special_token_at(text.substr(at));
      if (special == special_tokens_.end()) {
        ++at;
        continue;
      }
      append_plain(text.substr(plain_start, at - plain_start), ids);
      ids.push_back(special->second);
      at += special->first.size();
      plain_start = at;
    }
    append_plain(text.substr(plain_start), ids);
    return ids;
  }

 private:
  /// The longest special token that `text` starts with.
  SpecialTokens::const_iterator special_token_at(std::string_view text) const {
    return std::find_if(special_tokens_.begin(), special_tokens_.end(),
                        [&](const auto& token) { return text.starts_with(token.first); });
  }

  void append_plain(std::string_view text, std::vector<int64_t>& ids) const {
    const std::string normalized = normalize(text);
    for (std::string_view word : split_words(normalized)) {
      const std::vector<int64_t> pieces = unigram_->segment(word);
      ids.insert(ids.end(), pieces.begin(), pieces.end());
    }
  }

  /// The text that SentencePiece segments: its pieces side by side, bytes put together again.
  std::string normalize(std::string_view text) const {
    std::string normalized;
    for (const std::string& piece : model_.EncodeAsPieces({text.data(), text.size()})) {
      if (model_.IsByte(model_.PieceToId(piece))) {
        normalized.push_back(byte_of_piece(piece));
      } else {
        normalized += piece;
      }
    }
    return normalized;
  }

  sentencepiece::SentencePieceProcessor model_;
  SpecialTokens special_tokens_;
  std::unique_ptr<UnigramModel> unigram_;
  int64_t vocabulary_size_ = 0;
};

PromptTokenizer::PromptTokenizer(const std::filesystem::path& tokenizer_folder, int64_t max_length)
    : max_length_(max_length), vocabulary_(std::make_unique<const Vocabulary>(tokenizer_folder)) {
  if (max_length < 1)
    fail<Error>("tokenizer: the greatest length must be at least 1, but is {}", max_length);
}

PromptTokenizer::~PromptTokenizer() = default;
PromptTokenizer::PromptTokenizer(PromptTokenizer&&) noexcept = default;
PromptTokenizer& PromptTokenizer::operator=(PromptTokenizer&&) noexcept = default;

int64_t PromptTokenizer::vocabulary_size() const {
  return vocabulary_->size();
}

std::vector<int64_t> PromptTokenizer::encode(std::string_view text) const {
  std::vector<int64_t> ids = vocabulary_->encode(text);
  if (static_cast<int64_t>(ids.size()) >= max_length_) ids.resize(max_length_ - 1);
  ids.push_back(vocabulary_->end_of_sequence());
  return ids;
}

TokenizedPrompts PromptTokenizer::encode_padded(const std::vector<std::string>& texts) const {
  const auto batch = static_cast<int64_t>(texts.size());
  TokenizedPrompts result{.ids_BL = at::zeros({batch, max_length_}, at::kLong),
                          .mask_BL = at::zeros({batch, max_length_}, at::kLong)};
  for (int64_t row = 0; row < batch; ++row) {
    const std::vector<int64_t> ids = encode(texts[row]);
    const auto length = static_cast<int64_t>(ids.size());
    result.ids_BL[row].narrow(0, 0, length).copy_(at::tensor(ids, at::kLong));
    result.mask_BL[row].narrow(0, 0, length).fill_(1);
  }
  return result;
}

}  // namespace zoetrope
