// The known name nearest to a mistyped one, for hints in error messages.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zoetrope {

/// The candidate with the smallest edit distance (insert, delete, substitute, swap of neighbours;
/// ASCII case ignored), or nothing when even the nearest differs in more than a third of its
/// letters (at least two).
std::optional<std::string> nearest_name(std::string_view name,
                                        const std::vector<std::string>& candidates);

/// `; did you mean 'x'?`, or an empty string when no candidate is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace zoetrope
