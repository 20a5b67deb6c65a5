// Copies of Diffusers pipeline folders in which one component is replaced.
#pragma once

#include <filesystem>
#include <string>

#include "zoetrope/networks/wan_transformer/wan_transformer_config.h"

namespace zoetrope {

/// Makes `target` a copy of the pipeline folder `source` without the weights of
/// `replaced_component`, whose folder is left to the caller. Files of 16 MiB or more are hard links
/// where the file system allows it, all others copies; links into a Hugging Face cache are
/// followed. Throws CheckpointError naming the file that failed.
void copy_pipeline_folder(const std::filesystem::path& source, const std::filesystem::path& target,
                          const std::string& replaced_component);

/// Writes `target`/transformer/config.json, the one of the pipeline folder `source`, with the
/// frames per block, the window and the sinks that `network` says; where these are no others, the
/// same bytes. A game network, which may have begun as a bidirectional one and be causal now, is
/// written as `network`, also into the target's model_index.json. Throws CheckpointError when one
/// of the files is damaged.
void write_transformer_config(const std::filesystem::path& source,
                              const std::filesystem::path& target,
                              const WanTransformerConfig& network);

}  // namespace zoetrope
