#include "zoetrope/networks/lora/lora_file.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "support/golden.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using testing::HasSubstr;

ParameterStore base_parameters() {
  return {{{"blocks.0",
            {{"blocks.0.attn1.to_q.weight", {6, 5}},
             {"blocks.0.attn1.to_q.bias", {6}},
             {"blocks.0.attn1.to_k.weight", {6, 5}},
             {"blocks.0.attn1.to_k.bias", {6}}}}},
          {at::kCPU, at::kFloat, false}};
}

LoraAdapters random_adapters(const ParameterStore& base, LoraOptions options) {
  LoraAdapters adapters(base, std::move(options));
  at::manual_seed(3);
  for (const TensorSpec& spec : adapters.parameters().specs())
    adapters.parameters().load({{spec.name, at::randn(spec.shape)}});
  return adapters;
}

/// The message of what `action` throws.
template <class Action>
std::string failure(const Action& action) {
  try {
    action();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(LoraFile, ReadsWhatItWrote) {
  const test::TemporaryFolder folder;
  const ParameterStore base = base_parameters();
  const LoraAdapters adapters = random_adapters(base, {2, 3.5, {"to_q", "to_k"}});
  write_lora_file(folder.path() / "new", {2, 3.5, adapters.parameters().tensors()});
  const LoraWeights read = read_lora_file(folder.path() / "new");
  EXPECT_EQ(read.rank, 2);
  EXPECT_EQ(read.alpha, 3.5);
  LoraAdapters loaded(base, {2, 3.5, {"to_q", "to_k"}});
  load_lora_weights(loaded, read, "file");
  for (const auto& [name, tensor] : adapters.parameters().tensors())
    EXPECT_TRUE(at::equal(loaded.parameters().at(name).value.detach(), tensor)) << name;
}

TEST(LoraFile, IsLaidOutForDiffusers) {
  const test::TemporaryFolder folder;
  const ParameterStore base = base_parameters();
  const LoraAdapters adapters = random_adapters(base, {2, 4, {"to_q"}});
  write_lora_file(folder.path(), {2, 4, adapters.parameters().tensors()});
  const SafetensorsFile file(folder.path() / kLoraFileName);
  EXPECT_EQ(file.entries().size(), 2U);
  EXPECT_TRUE(file.entries().contains("transformer.blocks.0.attn1.to_q.lora_A.weight"));
  const auto metadata = nlohmann::json::parse(file.metadata().at("lora_adapter_metadata"));
  EXPECT_EQ(metadata.at("transformer.r"), 2);
  EXPECT_EQ(metadata.at("transformer.lora_alpha"), 4);
  EXPECT_EQ(metadata.at("transformer.target_modules"),
            nlohmann::json::array({"blocks.0.attn1.to_q"}));
}

TEST(LoraFile, WithoutMetadataAlphaIsTheRankAndThePrefixMayBeAbsent) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "adapter.safetensors";
  write_safetensors(path, {{"blocks.0.attn1.to_q.lora_A.weight", at::ones({3, 5})},
                           {"blocks.0.attn1.to_q.lora_B.weight", at::ones({6, 3})}});
  const LoraWeights read = read_lora_file(path);
  EXPECT_EQ(read.rank, 3);
  EXPECT_EQ(read.alpha, 3);
  EXPECT_EQ(read.tensors[0].first, "blocks.0.attn1.to_q.lora_A.weight");
}

TEST(LoraFile, RefusesWhatIsNoPlainAdapterFile) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "a.safetensors";
  const auto read = [&](const NamedTensors& tensors, const std::string& metadata = "{}") {
    write_safetensors(path, tensors, {{"lora_adapter_metadata", metadata}});
    return failure([&] { read_lora_file(path); });
  };
  const std::string layer = "transformer.blocks.0.attn1.to_q.";
  const NamedTensors good = {{layer + "lora_A.weight", at::ones({3, 5})},
                             {layer + "lora_B.weight", at::ones({6, 3})}};
  EXPECT_EQ(read(good), "nothing was thrown");
  EXPECT_THAT(failure([&] { read_lora_file(folder.path() / "none"); }),
              HasSubstr("or a folder with pytorch_lora_weights.safetensors, but is missing"));
  EXPECT_THAT(read({good[0]}), HasSubstr("must hold 'blocks.0.attn1.to_q.lora_B.weight' beside"));
  EXPECT_THAT(read({good[0], good[1], {layer + "alpha", at::ones({1})}}),
              HasSubstr("has 'blocks.0.attn1.to_q.alpha'"));
  EXPECT_THAT(read({good[0], {layer + "lora_B.weight", at::ones({6, 2})}}),
              HasSubstr("must all have one rank"));
  EXPECT_THAT(read({}), HasSubstr("must hold adapters, but has none"));
  EXPECT_THAT(read(good, R"({"transformer.use_rslora": true})"),
              HasSubstr("its use_rslora is true"));
  EXPECT_THAT(read(good, R"({"transformer.alpha_pattern": {"x": 2}})"),
              HasSubstr("its alpha_pattern is"));
  EXPECT_THAT(read(good, R"({"transformer.lora_alpha": "much"})"),
              HasSubstr("lora_alpha of the metadata must be a number"));
  EXPECT_THAT(read(good, "no json"), HasSubstr("must be a JSON object"));
}

TEST(LoraFile, LoadingListsEveryFault) {
  const ParameterStore base = base_parameters();
  LoraAdapters adapters(base, {2, 2, {"to_q", "to_k"}});
  const std::string q = "blocks.0.attn1.to_q.";
  const std::string other = "blocks.9.attn1.to_q.";
  const LoraWeights weights{2,
                            2,
                            {{q + "lora_A.weight", at::ones({2, 4})},
                             {q + "lora_B.weight", at::ones({6, 2})},
                             {other + "lora_A.weight", at::ones({2, 4})}}};
  const std::string message = failure([&] { load_lora_weights(adapters, weights, "my.file"); });
  EXPECT_THAT(message, HasSubstr("my.file: must hold the adapters of the targeted layers"));
  EXPECT_THAT(
      message,
      HasSubstr("'blocks.0.attn1.to_q.lora_A.weight' must have shape [2, 5], but has [2, 4]"));
  EXPECT_THAT(message, HasSubstr("'blocks.0.attn1.to_k.lora_A.weight' is missing"));
  EXPECT_THAT(message, HasSubstr("'blocks.0.attn1.to_k.lora_B.weight' is missing"));
  EXPECT_THAT(message, HasSubstr("'blocks.9.attn1.to_q.lora_A.weight' is unexpected"));
  EXPECT_THAT(failure([&] {
                load_lora_weights(adapters, {4, 2, {}}, "my.file");
              }),
              HasSubstr("my.file: must have the configured rank 2 and alpha 2, but has rank 4"));
  EXPECT_THAT(failure([&] {
                load_lora_weights(adapters, {2, 8, {}}, "my.file");
              }),
              HasSubstr("and alpha 8"));
}

TEST(LoraFile, MergesInFp32AndKeepsTheRest) {
  const ParameterStore base = base_parameters();
  const LoraAdapters adapters = random_adapters(base, {2, 3, {"to_q"}});
  NamedTensors weights;
  for (const TensorSpec& spec : base.specs())
    weights.emplace_back(spec.name, at::randn(spec.shape));
  const auto merged =
      merged_weights(weights, {2, 3, adapters.parameters().tensors()}, at::kBFloat16);
  ASSERT_EQ(merged.size(), weights.size());
  for (size_t i = 0; i < merged.size(); ++i) {
    EXPECT_EQ(merged[i].spec.name, weights[i].first);
    const at::Tensor value = merged[i].make();
    EXPECT_EQ(value.scalar_type(), at::kBFloat16);
    at::Tensor expected = weights[i].second;
    if (weights[i].first == "blocks.0.attn1.to_q.weight") {
      const at::Tensor a =
          adapters.parameters().at("blocks.0.attn1.to_q.lora_A.weight").value.detach();
      const at::Tensor b =
          adapters.parameters().at("blocks.0.attn1.to_q.lora_B.weight").value.detach();
      expected = expected + 1.5 * at::mm(b, a);
    }
    EXPECT_TRUE(at::equal(value, expected.to(at::kBFloat16))) << weights[i].first;
  }
}

TEST(LoraFile, MergingRefusesAdaptersOfAnotherNetwork) {
  const NamedTensors base = {{"x.weight", at::zeros({6, 5})}};
  const LoraWeights other{
      2, 2, {{"y.lora_A.weight", at::ones({2, 5})}, {"y.lora_B.weight", at::ones({6, 2})}}};
  EXPECT_THAT(failure([&] { merged_weights(base, other, at::kFloat); }),
              HasSubstr("'y.lora_A.weight' must belong to a weight of the network"));
  const LoraWeights wide{
      2, 2, {{"x.lora_A.weight", at::ones({2, 9})}, {"x.lora_B.weight", at::ones({6, 2})}}};
  EXPECT_THAT(failure([&] { merged_weights(base, wide, at::kFloat); }),
              HasSubstr("merging 'x.weight': the adapter is for a weight of shape [6, 9]"));
}

}  // namespace
}  // namespace zoetrope
