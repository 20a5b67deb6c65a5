#include "zoetrope/networks/tokenizer/unigram.h"

#include <algorithm>
#include <limits>

namespace zoetrope {
namespace {

bool starts_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
}

// End of the character that starts at `start`.
size_t character_end(std::string_view word, size_t start) {
  size_t end = start + 1;
  while (end < word.size() && !starts_character(word[end])) ++end;
  return end;
}

}  // namespace

UnigramModel::UnigramModel(const std::vector<std::string>& pieces,
                           const std::vector<double>& scores, int64_t unknown_id)
    : unknown_id_(unknown_id) {
  constexpr double kUnknownPenalty = 10.0;
  pieces_.reserve(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id) {
    pieces_.insert_or_assign(pieces[id], Piece{static_cast<int64_t>(id), scores[id]});
    longest_bytes_ = std::max(longest_bytes_, pieces[id].size());
  }
  unknown_score_ =
      (scores.empty() ? 0.0 : *std::min_element(scores.begin(), scores.end())) - kUnknownPenalty;
}

std::vector<int64_t> UnigramModel::segment(std::string_view word) const {
  // The best way to reach each byte offset: the piece that ends there and where it starts.
  struct Arrival {
    double score = -std::numeric_limits<double>::infinity();
    size_t start = 0;
    int64_t id = -1;
  };
  std::vector<Arrival> arrivals(word.size() + 1);
  arrivals[0].score = 0.0;
  const auto offer = [&](size_t start, size_t end, double score, int64_t id) {
    const double total = arrivals[start].score + score;
    if (arrivals[end].id < 0 || total > arrivals[end].score) arrivals[end] = {total, start, id};
  };
  for (size_t start = 0; start < word.size(); start = character_end(word, start)) {
    const size_t first_end = character_end(word, start);
    bool known_character = false;
    for (size_t end = first_end; end <= word.size() && end - start <= longest_bytes_;
         end = character_end(word, end)) {
      const auto found = pieces_.find(std::string(word.substr(start, end - start)));
      if (found != pieces_.end()) {
        offer(start, end, found->second.score, found->second.id);
        known_character = known_character || end == first_end;
      }
      if (end == word.size()) break;
    }
    if (!known_character) offer(start, first_end, unknown_score_, unknown_id_);
  }

  std::vector<int64_t> ids;
  for (size_t end = word.size(); end > 0; end = arrivals[end].start) {
    const int64_t id = arrivals[end].id;
    if (id != unknown_id_ || ids.empty() || ids.back() != unknown_id_) ids.push_back(id);
  }
  std::reverse(ids.begin(), ids.end());
  return ids;
}

}  // namespace zoetrope
