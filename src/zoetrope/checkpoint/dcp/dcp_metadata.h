// Turns the pickled `.metadata` of a checkpoint into entries. Internal to DcpFolder.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "zoetrope/checkpoint/dcp/dcp_folder.h"

namespace zoetrope {

/// The Python module whose classes a `.metadata` file holds, with the dot.
inline const std::string kDcpModule = "torch.distributed.checkpoint.metadata.";

/// Throws CheckpointError, beginning with `where`, when the bytes are damaged, are not the pickle
/// of a Metadata object, or need what we do not have (such as compressed items).
std::map<std::string, DcpEntry> parse_dcp_metadata(std::string_view bytes,
                                                   const std::string& where);

}  // namespace zoetrope
