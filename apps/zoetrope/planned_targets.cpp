#include "zoetrope/planned_targets.h"

#include <algorithm>

namespace zoetrope {
namespace {

using Keys = std::vector<std::string>;

Keys operator+(Keys keys, const Keys& more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

void add_planned(config::TargetTable& table, const std::string& path, const std::string& short_name,
                 const std::string& doc, const Keys& keys) {
  table.add_planned({.name = path,
                     .aliases = target_aliases(path, short_name),
                     .doc = doc,
                     .planned = "is not built yet"},
                    keys);
}

Keys model_keys() {
  return {"init_from",
          "trainable",
          "disable_custom_init_weights",
          "flow_shift",
          "enable_gradient_checkpointing_type",
          "transformer_override_safetensor",
          "lora",
          "attention_backend"};
}

Keys distribution_matching_keys() {
  return {"rollout_mode",
          "dmd_denoising_steps",
          "warp_denoising_step",
          "generator_update_interval",
          "real_score_guidance_scale",
          "min_timestep_ratio",
          "max_timestep_ratio",
          "fake_score_learning_rate",
          "fake_score_betas",
          "fake_score_lr_scheduler",
          "cfg_uncond",
          "attn_kind"};
}

Keys self_forcing_keys() {
  return distribution_matching_keys() +
         Keys{"chunk_size",          "student_sample_type", "same_step_across_blocks",
              "last_step_only",      "context_noise",       "enable_gradient_in_rollout",
              "start_gradient_frame"};
}

Keys streaming_keys() {
  return self_forcing_keys() + Keys{"streaming_training",
                                    "streaming_chunk_size",
                                    "streaming_max_length",
                                    "multi_phased_distill_schedule",
                                    "streaming_anchor_inject_k",
                                    "streaming_reencode_overlap_anchor",
                                    "streaming_require_full_blocks",
                                    "real_score_cfg",
                                    "streaming_fixed_overlap_latents",
                                    "streaming_min_new_frame"};
}

Keys diffusion_nft_keys() {
  return {"sampling",
          "validation",
          "sample_train_batch_size",
          "train_batch_size",
          "num_batches_per_epoch",
          "num_inner_epochs",
          "num_video_per_prompt",
          "adv_clip_max",
          "timestep_fraction",
          "kl_beta",
          "beta",
          "max_grad_norm",
          "decay_type",
          "adv_mode",
          "betas",
          "terminal_progress",
          "reward_fn",
          "ema"};
}

void add_distribution_matching(config::TargetTable& methods) {
  const std::string package = "fastvideo.train.methods.distribution_matching.";
  add_planned(methods, package + "streaming_long_tuning.StreamingLongTuningMethod",
              "streaming_long_tuning", "Self-Forcing over windows of a long rollout.",
              streaming_keys());
  add_planned(methods, package + "anyflow_pretrain.AnyFlowPretrainMethod", "anyflow_pretrain",
              "Flow-map pre-training for any number of steps.",
              {"diffusion_ratio", "consistency_ratio", "epsilon", "weight_type",
               "fuse_guidance_scale", "shift"});
  add_planned(methods, package + "anyflow.AnyFlowMethod", "anyflow",
              "On-policy distillation of a flow map.",
              distribution_matching_keys() + Keys{"student_sample_steps", "use_mean_velocity",
                                                  "t_list_override", "dmd_score_r_value"});
}

}  // namespace

std::vector<std::string> target_aliases(const std::string& path, const std::string& short_name) {
  constexpr int kFewestPackages = 3;
  std::vector<std::string> aliases = {short_name};
  const std::string name = path.substr(path.rfind('.'));
  std::string package = path.substr(0, path.rfind('.'));
  while (std::count(package.begin(), package.end(), '.') >= kFewestPackages) {
    package.resize(package.rfind('.'));
    aliases.push_back(package + name);
  }
  return aliases;
}

void add_planned_models(config::TargetTable& models) {
  const std::string package = "fastvideo.train.models.";
  const std::vector<std::pair<std::string, std::string>> others = {
      {"cosmos.cosmos.CosmosModel", "cosmos"},
      {"hunyuan.hunyuan.HunyuanModel", "hunyuan"},
      {"kandinsky5.kandinsky5.Kandinsky5Model", "kandinsky5"},
      {"longcat.longcat.LongCatModel", "longcat"},
      {"ltx2.ltx2.LTX2Model", "ltx2"},
      {"minimax_h3.minimax_h3.MiniMaxH3Model", "minimax_h3"}};
  for (const auto& [path, short_name] : others) {
    add_planned(models, package + path, short_name, "Another architecture of FastVideo's.",
                model_keys());
  }
}

void add_planned_methods(config::TargetTable& methods) {
  add_distribution_matching(methods);
  const std::string package = "fastvideo.train.methods.";
  add_planned(methods, package + "rl.diffusion_nft.DiffusionNFTMethod", "diffusion_nft",
              "Reinforcement learning from reward models.", diffusion_nft_keys());
}

}  // namespace zoetrope
