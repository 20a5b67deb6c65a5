#include "zoetrope/catalog.h"

#include "zoetrope/callbacks/action_sensitivity.h"
#include "zoetrope/callbacks/distillation_health/distillation_health.h"
#include "zoetrope/callbacks/ema.h"
#include "zoetrope/callbacks/grad_clip.h"
#include "zoetrope/callbacks/validation.h"
#include "zoetrope/methods/consistency_distillation/causal_consistency_method.h"
#include "zoetrope/methods/distribution_matching/self_forcing_method.h"
#include "zoetrope/methods/distribution_matching/streaming_long_tuning_method.h"
#include "zoetrope/methods/fine_tuning/diffusion_forcing_method.h"
#include "zoetrope/methods/fine_tuning/fine_tune_method.h"
#include "zoetrope/methods/knowledge_distillation/causal_knowledge_distillation_method.h"
#include "zoetrope/models/wan/wan_causal_model.h"
#include "zoetrope/models/wan/wan_i2v_model.h"
#include "zoetrope/models/wan/wan_model.h"
#include "zoetrope/models/wan_game/wan_game_causal_model.h"
#include "zoetrope/models/wan_game/wan_game_model.h"
#include "zoetrope/planned_targets.h"

namespace zoetrope {
namespace {

using ModelRegistry = config::Registry<ModelBase, const ModelContext&>;

constexpr const char* kGameData = "matrixgame2";

/// FastVideo called Matrix-Game 2 "WanGame" before.
std::vector<std::string> game_aliases(const std::string& path, const std::string& short_name,
                                      const std::string& former_path) {
  std::vector<std::string> aliases = target_aliases(path, short_name);
  const std::vector<std::string> former = target_aliases(former_path, former_path);
  aliases.insert(aliases.end(), former.begin(), former.end());
  return aliases;
}

void add_game_models(ModelRegistry& models) {
  const std::string package = "fastvideo.train.models.";
  const std::string game = package + "matrixgame2.matrixgame2.MatrixGame2Model";
  models
      .add<WanGameModel, WanModelConfig>(
          game, game_aliases(game, "wan_game", package + "wangame.wangame.WanGameModel"),
          "Image-to-video Wan that keyboard and mouse steer (Matrix-Game 2), bidirectional.")
      .data_type = kGameData;
  const std::string causal = package + "matrixgame2.matrixgame2_causal.MatrixGame2CausalModel";
  config::Target& causal_game = models.add<WanGameCausalModel, WanCausalModelConfig>(
      causal,
      game_aliases(causal, "wan_game_causal",
                   package + "wangame.wangame_causal.WanGameCausalModel"),
      "Matrix-Game 2, causal, with key-value caches for streaming.");
  causal_game.causal = true;
  causal_game.data_type = kGameData;
}

void add_models(ModelRegistry& models) {
  const std::string wan = "fastvideo.train.models.wan.wan.WanModel";
  models.add<WanModel, WanModelConfig>(wan, target_aliases(wan, "wan"),
                                       "Wan 2.1 text-to-video, bidirectional.");
  const std::string wan_i2v = "fastvideo.train.models.wan.wan_i2v.WanI2VModel";
  models
      .add<WanI2VModel, WanModelConfig>(
          wan_i2v, target_aliases(wan_i2v, "wan_i2v"),
          "Wan 2.1 image-to-video, bidirectional; trains on data of the i2v schema.")
      .data_type = "i2v";
  const std::string wan_causal = "fastvideo.train.models.wan.wan_causal.WanCausalModel";
  models
      .add<WanCausalModel, WanCausalModelConfig>(
          wan_causal, target_aliases(wan_causal, "wan_causal"),
          "Wan 2.1 text-to-video, causal, with key-value caches for streaming.")
      .causal = true;
  add_game_models(models);
  add_planned_models(models);
}

using MethodRegistry = config::Registry<TrainingMethod, MethodContext>;

constexpr const char* kDistillationHealth = "distillation_health";

template <class Method, class Config>
config::Target& add_method(MethodRegistry& methods, const std::string& path,
                           const std::string& short_name, const std::string& doc) {
  const std::string name = "fastvideo.train.methods." + path;
  return methods.add<Method, Config>(name, target_aliases(name, short_name), doc);
}

void add_fine_tuning(MethodRegistry& methods) {
  add_method<FineTuneMethod, FineTuneConfig>(methods, "fine_tuning.finetune.FineTuneMethod",
                                             "fine_tune",
                                             "Supervised fine-tuning by flow matching.")
      .roles = {{"student"}};
  add_method<DiffusionForcingSftMethod, DiffusionForcingConfig>(
      methods, "fine_tuning.dfsft.DiffusionForcingSFTMethod", "diffusion_forcing_sft",
      "Fine-tuning with a noise level of its own for each block of frames.")
      .roles = {{"student"}};
  add_method<TeacherForcingSftMethod, DiffusionForcingConfig>(
      methods, "fine_tuning.tfsft.TeacherForcingSFTMethod", "teacher_forcing_sft",
      "Fine-tuning in which each block of frames sees the clean frames before it.")
      .roles = {{.role = "student", .causal = true}};
}

void add_distillation(MethodRegistry& methods) {
  const config::RoleRequirement causal_student{.role = "student", .causal = true};
  const config::RoleRequirement teacher{.role = "teacher", .trainable = false};
  config::Target& dmd2 =
      add_method<Dmd2Method, Dmd2Config>(methods, "distribution_matching.dmd2.DMD2Method", "dmd2",
                                         "Distribution-matching distillation into a few steps.");
  dmd2.default_callbacks = {kDistillationHealth};
  dmd2.roles = {{"student"}, teacher, {"critic"}};
  config::Target& self_forcing = add_method<SelfForcingMethod, SelfForcingConfig>(
      methods, "distribution_matching.self_forcing.SelfForcingMethod", "self_forcing",
      "DMD2 of a causal student along its own rollouts.");
  self_forcing.default_callbacks = {kDistillationHealth};
  self_forcing.roles = {causal_student, teacher, {"critic"}};
  config::Target& streaming = add_method<StreamingLongTuningMethod, StreamingLongTuningConfig>(
      methods, "distribution_matching.streaming_long_tuning.StreamingLongTuningMethod",
      "streaming_long_tuning", "Self-Forcing over the windows of long rollouts.");
  streaming.default_callbacks = {kDistillationHealth};
  streaming.roles = {causal_student, teacher, {"critic"}};
  add_method<CausalConsistencyDistillationMethod, CausalConsistencyConfig>(
      methods, "consistency_model.causal_cd.CausalConsistencyDistillationMethod", "causal_cd",
      "Consistency distillation of a causal student from clean context.")
      .roles = {causal_student,
                {.role = "teacher", .trainable = false, .causal = true},
                {.role = "ema", .trainable = false, .causal = true}};
  // Without a teacher where its trajectories are there already.
  const config::RoleRequirement optional_teacher{
      .role = "teacher", .trainable = false, .optional = true};
  add_method<KnowledgeDistillationMethod, KnowledgeDistillationConfig>(
      methods, "knowledge_distillation.kd.KDMethod", "kd",
      "Regression on a teacher's sampling trajectories.")
      .roles = {{"student"}, optional_teacher};
  add_method<CausalKnowledgeDistillationMethod, CausalKnowledgeDistillationConfig>(
      methods, "knowledge_distillation.kd.KDCausalMethod", "kd_causal",
      "Regression on a teacher's trajectories, one noise level per block of frames.")
      .roles = {causal_student, optional_teacher};
}

void add_methods(MethodRegistry& methods) {
  add_fine_tuning(methods);
  add_distillation(methods);
  add_planned_methods(methods);
}

void add_callbacks(config::Registry<Callback, const CallbackContext&>& callbacks) {
  const std::string grad_clip = "fastvideo.train.callbacks.grad_clip.GradNormClipCallback";
  callbacks.add<GradNormClipCallback, GradNormClipConfig>(
      grad_clip, target_aliases(grad_clip, "grad_clip"),
      "Clips gradients by their global norm and logs the norm.");
  const std::string ema = "fastvideo.train.callbacks.ema.EMACallback";
  callbacks.add<EmaCallback, EmaConfig>(ema, target_aliases(ema, "ema"),
                                        "Averages the student's weights exponentially.");
  const std::string validation = "fastvideo.train.callbacks.validation.ValidationCallback";
  callbacks.add<ValidationCallback, ValidationConfig>(
      validation, target_aliases(validation, "validation"),
      "Samples videos and measures the loss at fixed noise, periodically.");
  const std::string actions = "zoetrope.callbacks.action_sensitivity.ActionSensitivity";
  callbacks.add<ActionSensitivity, ActionSensitivityConfig>(
      actions, target_aliases(actions, "action_sensitivity"),
      "Measures whether actions change the videos, and raises an alarm when they do not.");
  const std::string health = "zoetrope.callbacks.distillation_health.DistillationHealth";
  callbacks.add<DistillationHealth, DistillationHealthConfig>(
      health, target_aliases(health, kDistillationHealth),
      "Watches distilled clips and updates, and raises an alarm when the student collapses.");
}

}  // namespace

Catalog::Catalog() {
  add_models(registries.models);
  add_methods(registries.methods);
  add_callbacks(registries.callbacks);
}

}  // namespace zoetrope
