// Finds the records of a zip archive in memory. Only what torch.save writes: stored records, one
// folder, no comment. Copies nothing; every offset is checked against the archive's size.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace zoetrope {

class ZipReader {
 public:
  /// `where` begins each message. Throws CheckpointError when the archive is damaged, truncated or
  /// holds compressed records.
  ZipReader(std::string_view archive, const std::string& where);

  /// The bytes of a record, by its name below the archive's folder (`data.pkl`); null when there
  /// is none.
  const std::string_view* find(const std::string& name) const;

 private:
  std::map<std::string, std::string_view> records_;
};

}  // namespace zoetrope
