#include "zoetrope/catalog.h"

#include "zoetrope/callbacks/ema.h"
#include "zoetrope/callbacks/grad_clip.h"
#include "zoetrope/callbacks/validation.h"
#include "zoetrope/methods/distribution_matching/dmd2_method.h"
#include "zoetrope/methods/fine_tuning/fine_tune_method.h"
#include "zoetrope/models/wan/wan_model.h"
#include "zoetrope/planned_targets.h"

namespace zoetrope {
namespace {

void add_models(config::Registry<ModelBase, const ModelContext&>& models) {
  const std::string wan = "fastvideo.train.models.wan.wan.WanModel";
  models.add<WanModel, WanModelConfig>(wan, target_aliases(wan, "wan"),
                                       "Wan 2.1 text-to-video, bidirectional.");
  add_planned_models(models);
}

void add_methods(config::Registry<TrainingMethod, MethodContext>& methods) {
  const std::string fine_tune = "fastvideo.train.methods.fine_tuning.finetune.FineTuneMethod";
  methods.add<FineTuneMethod, FineTuneConfig>(fine_tune, target_aliases(fine_tune, "fine_tune"),
                                              "Supervised fine-tuning by flow matching.");
  const std::string dmd2 = "fastvideo.train.methods.distribution_matching.dmd2.DMD2Method";
  methods.add<Dmd2Method, Dmd2Config>(dmd2, target_aliases(dmd2, "dmd2"),
                                      "Distribution-matching distillation into a few steps.");
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
}

}  // namespace

Catalog::Catalog() {
  add_models(registries.models);
  add_methods(registries.methods);
  add_callbacks(registries.callbacks);
}

}  // namespace zoetrope
