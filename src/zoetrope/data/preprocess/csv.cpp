#include "zoetrope/data/preprocess/csv.h"

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& source) : text_(text), source_(source) {
    if (text_.starts_with("\xef\xbb\xbf")) position_ = 3;
  }

  bool at_end() const { return position_ >= text_.size(); }
  int line() const { return line_; }

  std::vector<std::string> read_record() {
    std::vector<std::string> fields;
    do {
      fields.push_back(at_end() || text_[position_] != '"' ? read_plain() : read_quoted());
    } while (take_comma());
    take_line_end();
    return fields;
  }

 private:
  std::string read_plain() {
    const size_t begin = position_;
    while (!at_end() && text_[position_] != ',' && text_[position_] != '\n') ++position_;
    std::string field(text_.substr(begin, position_ - begin));
    if (!field.empty() && field.back() == '\r') field.pop_back();
    return field;
  }

  std::string read_quoted() {
    const int opened = line_;
    std::string field;
    for (++position_; !at_end(); ++position_) {
      const char letter = text_[position_];
      if (letter == '\n') ++line_;
      if (letter != '"') {
        field += letter;
        continue;
      }
      ++position_;
      if (at_end() || text_[position_] != '"') return field;
      field += '"';
    }
    fail<DataError>("{}:{}: a quoted field must end with a quote, but the text ends", source_,
                    opened);
  }

  bool take_comma() {
    if (!at_end() && text_[position_] == '\r') ++position_;
    if (at_end() || text_[position_] == '\n') return false;
    if (text_[position_] != ',') {
      fail<DataError>("{}:{}: after a quoted field a comma must follow, but got '{}'", source_,
                      line_, text_[position_]);
    }
    ++position_;
    return true;
  }

  void take_line_end() {
    if (at_end()) return;
    ++position_;
    ++line_;
  }

  std::string_view text_;
  const std::string& source_;
  size_t position_ = 0;
  int line_ = 1;
};

bool is_blank(const std::vector<std::string>& fields) {
  return fields.size() == 1 && fields.front().empty();
}

}  // namespace

std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& source) {
  CsvReader reader(text, source);
  const std::vector<std::string> header = reader.read_record();
  if (is_blank(header)) {
    fail<DataError>("{}: must begin with a line of column names, but does not", source);
  }
  std::vector<CsvRecord> records;
  while (!reader.at_end()) {
    CsvRecord record{reader.line(), {}};
    const std::vector<std::string> fields = reader.read_record();
    if (is_blank(fields)) continue;
    if (fields.size() != header.size()) {
      fail<DataError>(
          "{}:{}: must have {} fields as the header, but has {}; put texts with commas "
          "into quotes",
          source, record.line, header.size(), fields.size());
    }
    for (size_t i = 0; i < header.size(); ++i) record.values[header[i]] = fields[i];
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace zoetrope
