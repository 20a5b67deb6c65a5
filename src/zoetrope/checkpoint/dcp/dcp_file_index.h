// What a rank wrote, as a text for the rank that writes `.metadata`.
#pragma once

#include <string>

#include "zoetrope/checkpoint/dcp/dcp_writer.h"

namespace zoetrope {

std::string write_file_index(const DcpFileIndex& index);
/// The inverse. Throws CheckpointError for another text.
DcpFileIndex read_file_index(const std::string& text);

}  // namespace zoetrope
