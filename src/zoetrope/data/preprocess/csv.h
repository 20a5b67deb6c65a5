// Comma-separated text with quotes (RFC 4180) as records by column name. Knows nothing of videos.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace zoetrope {

struct CsvRecord {
  int line = 0;                               ///< where it begins, from 1
  std::map<std::string, std::string> values;  ///< by the header's names
};

/// The records below the header line. Blank lines are passed over. `source` names the text in
/// messages. Throws DataError with source:line when there is no header, when a record has another
/// number of fields than the header, or when a quote is not closed.
std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& source);

}  // namespace zoetrope
