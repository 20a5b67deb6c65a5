// What several methods ask of their roles and options, each with one message.
#pragma once

#include <string>

#include "zoetrope/models/causal_model.h"
#include "zoetrope/optim/optimizer_config.h"

namespace zoetrope {

/// Throws ConfigError naming `method` unless the student's learning rate is positive.
void require_positive_learning_rate(const OptimizerConfig& optimizer, const std::string& method);

/// The causal side of `model`. Throws ConfigError naming role and method when it is bidirectional.
CausalModelBase& require_causal(ModelBase& model, const std::string& role,
                                const std::string& method);

/// Throws ConfigError naming the config's `key` when `model` is causal and its blocks are not of
/// `num_frames` frames.
void require_block_size(ModelBase& model, int64_t num_frames,
                        const std::string& key = "method.chunk_size");

}  // namespace zoetrope
