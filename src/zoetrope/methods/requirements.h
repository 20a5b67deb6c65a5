// What several methods ask of their roles and options, each with one message: of configs before
// anything is loaded, of models where only the checkpoint says.
#pragma once

#include <string>

#include "zoetrope/config/run_facts.h"
#include "zoetrope/config/schema.h"
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

/// Throws ConfigError naming `role` when the blocks of `model` are not of as many frames as the
/// student's.
void require_blocks_of_student(const CausalModelBase& student, const CausalModelBase& model,
                               const std::string& role);

/// Adds the issue `context.path.key: message` where `key` is written in `method`.
void refuse_key(const config::Node& method, const std::string& key,
                const config::ReadContext& context, const std::string& message);

/// Adds an issue when `min_timestep_ratio` is above `max_timestep_ratio`.
void check_timestep_range(double min_timestep_ratio, double max_timestep_ratio,
                          const config::Node& method, const config::ReadContext& context);

/// Adds an issue when `key`, which is `num_frames`, is not the num_frames_per_block that the
/// student's config states.
void check_block_size(const std::string& key, int64_t num_frames, const config::RunFacts& run,
                      const config::Node& method, const config::ReadContext& context);

/// Adds an issue when blocks of `role` and of the student are of different sizes by their configs.
void check_blocks_of_student(const std::string& role, const config::RunFacts& run,
                             const config::Node& method, const config::ReadContext& context);

/// Adds an issue when the data has no latents to train on.
void check_has_latents(const config::RunFacts& run, const config::Node& method,
                       const config::ReadContext& context);

}  // namespace zoetrope
