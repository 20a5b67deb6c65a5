// A Wan role that trains low-rank adapters: its config, its parameters and what it exports.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "support/golden.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/config/registry.h"
#include "zoetrope/models/wan/wan_model.h"
#include "zoetrope/networks/lora/lora_file.h"

namespace zoetrope::test {
namespace {

using testing::HasSubstr;

class WanModelLora : public testing::Test {
 protected:
  WanModelLora() {
    context_.random = &random_;
    config_.init_from = (reference_root() / "_models/wan_a").string();
    config_.lora.enable = true;
    config_.lora.rank = 4;
  }

  at::Tensor predict(ModelBase& model) const {
    at::manual_seed(2);
    Conditioning conditioning;
    conditioning.text_embedding_BLD = at::randn({1, 6, text_width_});
    at::NoGradGuard no_grad;
    return model.predict_noise(at::randn({1, 2, 16, 4, 4}), at::full({1}, 500.0), conditioning);
  }

  void randomize(ModelBase& model) const {
    at::manual_seed(8);
    for (const TensorSpec& spec : model.parameters().specs())
      model.parameters().load({{spec.name, at::randn(spec.shape)}});
  }

  KeyedRandomSource random_{4};
  ModelContext context_;
  WanModelConfig config_;
  int64_t text_width_ =
      read_wan_transformer_config(reference_root() / "_models/wan_a/transformer/config.json")
          .text_dim;
};

TEST_F(WanModelLora, TrainsOnlyTheAdapters) {
  WanModel model(config_, context_);
  EXPECT_TRUE(model.trainable());
  EXPECT_TRUE(model.parameters().trainable());
  for (const TensorSpec& spec : model.parameters().specs())
    EXPECT_THAT(spec.name, HasSubstr(".lora_")) << spec.name;
  EXPECT_FALSE(model.transformer().parameters().trainable());
}

TEST_F(WanModelLora, ExportsAFileFromWhichAnotherRunGoesOn) {
  const TemporaryFolder folder;
  config_.lora.alpha = 6;
  WanModel model(config_, context_);
  randomize(model);
  model.export_pipeline(folder / "out", model.parameters().tensors());
  EXPECT_TRUE(std::filesystem::exists(folder / "out/pytorch_lora_weights.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out/transformer"));
  WanModel fresh(config_, context_);
  EXPECT_FALSE(at::equal(predict(fresh), predict(model)));
  config_.lora.init_from = (folder / "out").string();
  WanModel next(config_, context_);
  EXPECT_TRUE(at::equal(predict(next), predict(model)));
}

TEST_F(WanModelLora, SamplingUsesTheAdapters) {
  WanModel model(config_, context_);
  const DenoisingNetwork network = model.denoising_network();
  at::manual_seed(2);
  const at::Tensor noisy_BCTHW = at::randn({1, 16, 2, 4, 4});
  Conditioning text;
  text.text_embedding_BLD = at::randn({1, 6, text_width_});
  const at::Tensor before = network(noisy_BCTHW, at::full({1}, 500.0), text);
  randomize(model);
  EXPECT_FALSE(at::equal(network(noisy_BCTHW, at::full({1}, 500.0), text), before));
}

TEST_F(WanModelLora, RefusesAFileOfAnotherRank) {
  const TemporaryFolder folder;
  WanModel model(config_, context_);
  model.export_pipeline(folder / "out", model.parameters().tensors());
  config_.lora.init_from = (folder / "out").string();
  config_.lora.rank = 8;
  EXPECT_THROW(WanModel(config_, context_), CheckpointError);
}

/// What is wrong with a model section.
std::string faults_of(const std::string& yaml) {
  config::Issues issues;
  WanModelConfig config;
  config::schema_of<WanModelConfig>().read(config::parse_yaml(yaml, "run.yaml"), &config,
                                           {issues, "models.student"});
  try {
    issues.throw_if_any();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "none";
}

TEST(WanModelLoraConfig, NamesWhatIsWrong) {
  EXPECT_EQ(faults_of("{init_from: x, lora: null}"), "none");
  EXPECT_EQ(faults_of("{init_from: x, lora: {enable: false, rank: 8}}"), "none");
  EXPECT_EQ(faults_of("{init_from: x, lora: {enable: true, rank: 8, alpha: 16, "
                      "target_modules: [to_q]}}"),
            "none");
  EXPECT_THAT(faults_of("{init_from: x, lora: {enable: true}}"),
              HasSubstr("models.student.lora.rank: must be given when lora.enable is true"));
  EXPECT_THAT(faults_of("{init_from: x, lora: {enable: true, rank: 0}}"),
              HasSubstr("models.student.lora.rank: must be at least 1, but got the number 0"));
  EXPECT_THAT(faults_of("{init_from: x, lora: {enable: true, rank: 8, alpha: -1}}"),
              HasSubstr("models.student.lora.alpha: must be greater than 0"));
  EXPECT_THAT(faults_of("{init_from: x, trainable: false, lora: {enable: true, rank: 8}}"),
              HasSubstr("models.student.lora.enable: must be false for a role with trainable: "
                        "false, but got true"));
  EXPECT_THAT(faults_of("{init_from: x, lora: {enable: true, rank: 8, target_modules: []}}"),
              HasSubstr("models.student.lora.target_modules: must name a layer"));
  EXPECT_THAT(faults_of("{init_from: x, lora: {enable: true, rnk: 8}}"),
              HasSubstr("did you mean 'rank'"));
}

}  // namespace
}  // namespace zoetrope::test
