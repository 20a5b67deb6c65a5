// Everything that is registered: documented, with defaults that keep their own rules, and with a
// reference that is up to date.
#include "zoetrope/catalog.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "integration/cli/command.h"
#include "zoetrope/base/file.h"
#include "zoetrope/config_reference.h"

namespace zoetrope {
namespace {

using ::testing::HasSubstr;

void check_schema(const config::AnySchema& schema, const std::string& path) {
  const auto defaults = schema.make_default();
  for (const config::Field& field : schema.fields()) {
    const std::string where = path + "." + field.name;
    ASSERT_FALSE(field.doc.empty()) << where;
    EXPECT_EQ(field.doc.back(), '.') << where;
    EXPECT_FALSE(field.type.empty()) << where;
    if (!field.required) {
      const config::Node value = field.write(defaults.get());
      EXPECT_EQ(broken_constraint(field.constraint, value), std::nullopt) << where;
      const auto again = schema.make_default();
      config::Issues issues;
      EXPECT_TRUE(field.nested() != nullptr || field.read(value, again.get(), {issues, where}))
          << where;
    }
    if (field.nested() != nullptr) check_schema(*field.nested(), where);
  }
}

TEST(Catalog, every_field_is_documented_and_its_default_keeps_the_rules) {
  const Catalog catalog;
  for (const config::TargetTable* table : std::initializer_list<const config::TargetTable*>{
           &catalog.registries.models, &catalog.registries.methods,
           &catalog.registries.callbacks}) {
    for (const auto& target : table->targets()) {
      EXPECT_FALSE(target->doc.empty()) << target->name;
      ASSERT_NE(target->schema, nullptr) << target->name;
      check_schema(*target->schema, target->name);
    }
  }
  check_schema(config::schema_of<TrainingConfig>(), "training");
  check_schema(config::schema_of<PipelineConfig>(), "pipeline");
}

TEST(Catalog, knows_every_target_of_the_reference) {
  const Catalog catalog;
  for (const char* name :
       {"fastvideo.train.models.wan.WanModel", "fastvideo.train.models.wan.WanCausalModel",
        "fastvideo.train.models.wan.wan.WanModel",
        "fastvideo.train.models.wan.wan_causal.WanCausalModel",
        "fastvideo.train.models.matrixgame2.matrixgame2.MatrixGame2Model",
        "fastvideo.train.models.matrixgame2.matrixgame2_causal.MatrixGame2CausalModel",
        "fastvideo.train.models.wangame.WanGameModel",
        "fastvideo.train.models.wangame.WanGameCausalModel"}) {
    EXPECT_NE(catalog.registries.models.find(name), nullptr) << name;
  }
  for (const char* name :
       {"fine_tuning.finetune.FineTuneMethod", "fine_tuning.dfsft.DiffusionForcingSFTMethod",
        "fine_tuning.tfsft.TeacherForcingSFTMethod", "distribution_matching.dmd2.DMD2Method",
        "distribution_matching.self_forcing.SelfForcingMethod",
        "distribution_matching.streaming_long_tuning.StreamingLongTuningMethod",
        "distribution_matching.anyflow_pretrain.AnyFlowPretrainMethod",
        "distribution_matching.anyflow.AnyFlowMethod", "knowledge_distillation.kd.KDMethod",
        "knowledge_distillation.kd.KDCausalMethod",
        "consistency_model.causal_cd.CausalConsistencyDistillationMethod",
        "rl.diffusion_nft.DiffusionNFTMethod"}) {
    EXPECT_NE(catalog.registries.methods.find(std::string("fastvideo.train.methods.") + name),
              nullptr)
        << name;
  }
  for (const char* name : {"grad_clip", "ema", "validation",
                           "fastvideo.train.callbacks.grad_clip.GradNormClipCallback",
                           "fastvideo.train.callbacks.ema.EMACallback",
                           "fastvideo.train.callbacks.validation.ValidationCallback"}) {
    EXPECT_NE(catalog.registries.callbacks.find(name), nullptr) << name;
  }
}

TEST(Targets, committed_reference_is_up_to_date) {
  const Catalog catalog;
  const std::string committed = read_file(ZOETROPE_SOURCE_DIR "/docs/config_reference.md");
  EXPECT_TRUE(committed == config_reference_markdown(catalog.tables()))
      << "docs/config_reference.md is out of date; write it anew: zoetrope targets --markdown > "
         "docs/config_reference.md";
}

TEST(Targets, shows_one_target_or_section) {
  const auto clip = test::run_zoetrope({"targets", "grad_clip"});
  EXPECT_EQ(clip.exit_code, 0);
  EXPECT_THAT(clip.output, HasSubstr("max_grad_norm = 1.0"));
  EXPECT_THAT(test::run_zoetrope({"targets", "training.loop"}).output,
              HasSubstr("max_train_steps = required"));
  const auto typo = test::run_zoetrope({"targets", "grad_clpi"});
  EXPECT_EQ(typo.exit_code, 1);
  EXPECT_THAT(typo.messages, HasSubstr("did you mean 'grad_clip'?"));
}

}  // namespace
}  // namespace zoetrope
