// The most probable segmentation of a word into pieces of a unigram language model.
// Source: Kudo 2018; ties and unknown characters as in Hugging Face's tokenizers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace zoetrope {

class UnigramModel {
 public:
  /// `scores[id]` is the log-probability of `pieces[id]`; `unknown_id` stands for characters in no
  /// piece.
  UnigramModel(const std::vector<std::string>& pieces, const std::vector<double>& scores,
               int64_t unknown_id);

  /// Ids of the best segmentation of `word` (UTF-8), with each run of unknown characters as one
  /// unknown_id.
  std::vector<int64_t> segment(std::string_view word) const;

 private:
  struct Piece {
    int64_t id;
    double score;
  };

  std::unordered_map<std::string, Piece> pieces_;
  size_t longest_bytes_ = 0;
  int64_t unknown_id_;
  double unknown_score_ = 0.0;
};

}  // namespace zoetrope
