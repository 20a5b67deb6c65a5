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

/// Throws ConfigError when `model` is causal and its blocks are not of `chunk_size` frames.
void require_block_size(ModelBase& model, int64_t chunk_size);

}  // namespace zoetrope
