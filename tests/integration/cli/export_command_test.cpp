// Exports of FastVideo's checkpoints against FastVideo's own exports, and of ours against what
// training leaves at its end.
#include <cstdlib>
#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "integration/cli/command.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/networks/lora/lora_file.h"
#include "zoetrope/networks/wan_transformer/wan_key_layouts.h"
#include "zoetrope/networks/wan_transformer/wan_transformer.h"

namespace zoetrope::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const fs::path kReference = fs::path(ZOETROPE_SOURCE_DIR) / "tests/golden/reference";

std::string python() {
  const char* named = std::getenv("ZOETROPE_REFERENCE_PYTHON");
  return named != nullptr ? named : "python3";
}

/// All tensors of a folder or file, by the names in it.
NamedTensors read_all(const fs::path& path) {
  const WeightFolder weights(path);
  NamedTensors tensors;
  for (const std::string& name : weights.names()) tensors.emplace_back(name, weights.tensor(name));
  return tensors;
}

void expect_equal(const NamedTensors& a, const NamedTensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].first, b[i].first);
    EXPECT_EQ(a[i].second.scalar_type(), b[i].second.scalar_type()) << a[i].first;
    EXPECT_TRUE(at::equal(a[i].second, b[i].second)) << a[i].first;
  }
}

bool any_differs(const NamedTensors& a, const NamedTensors& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!at::equal(a[i].second, b[i].second)) return true;
  }
  return false;
}

class ExportCommand : public testing::Test {
 protected:
  CommandResult run_export(const fs::path& source, std::vector<std::string> options) {
    options.insert(options.begin(), {"export", source.string()});
    return run_zoetrope(options);
  }

  /// An export that must succeed, to `name`, with the golden base model.
  fs::path exported(const std::string& source, const std::string& name,
                    std::vector<std::string> options = {}) {
    fs::path output = folder_ / name;
    options.insert(options.end(), {"--base", (kReference / "_models/wan_tiny").string(), "--verify",
                                   "--output", output.string()});
    const CommandResult result = run_export(kReference / source, options);
    EXPECT_EQ(result.exit_code, 0) << result.messages;
    return output;
  }

  /// Trains three steps with a checkpoint at the last into `out`.
  void train(const std::string& model_options, const std::string& sections,
             const std::string& model = "wan", const std::string& method = "fine_tune") {
    std::ofstream(folder_ / "run.yaml")
        << "models:\n  student: {_target_: " << model
        << ", init_from: " << (kReference / "_models/wan_a").string() << model_options
        << "}\nmethod: {_target_: " << method
        << "}\ntraining:\n  data: {data_path: " << (kReference / "_data/t2v").string()
        << ", num_latent_t: 4, train_batch_size: 2, seed: 5}\n  optimizer: {learning_rate: "
           "1.0e-3}\n"
        << "  loop: {max_train_steps: 3}\n  checkpoint: {training_state_checkpointing_steps: 3, "
        << "output_dir: " << (folder_ / "out").string()
        << "}\n  tracker: {trackers: [none]}\n  model: {compute_dtype: fp32}\n"
        << sections;
    const CommandResult result = run_zoetrope({"train", (folder_ / "run.yaml").string()});
    ASSERT_EQ(result.exit_code, 0) << result.messages;
  }

  std::vector<std::string> left_overs() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with('.')) names.push_back(name);
    }
    return names;
  }

  TemporaryFolder folder_;
};

TEST_F(ExportCommand, GivesWhatFastVideoExports) {
  for (const char* run : {"c09_ckpt_1rank", "c09b_ckpt_2rank_shard"}) {
    const fs::path output = exported(std::string(run) + "/out", run);
    expect_equal(read_all(output / "transformer"),
                 read_all(kReference / run / "diffusers_export/transformer/model.safetensors"));
    EXPECT_TRUE(fs::exists(output / "model_index.json"));
    EXPECT_TRUE(fs::exists(output / "vae/config.json"));
  }
  EXPECT_THAT(left_overs(), ElementsAre());
}

TEST_F(ExportCommand, OtherLayoutsHoldTheSame) {
  const std::string checkpoint = "c09_ckpt_1rank/out/checkpoint-2";
  const NamedTensors expected = read_all(exported(checkpoint, "diffusers") / "transformer");
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : expected) specs.push_back({name, tensor.sizes().vec()});
  const fs::path original = exported(checkpoint, "original", {"--layout", "original"});
  expect_equal(load_wan_weights(original, specs), expected);
  const auto config = nlohmann::json::parse(read_file(original / "config.json"));
  EXPECT_EQ(config["model_type"], "t2v");
  EXPECT_EQ(config["dim"], 24);
  const fs::path comfyui = exported(checkpoint, "my.safetensors", {"--layout", "comfyui"});
  EXPECT_TRUE(WeightFolder(comfyui).contains("model.diffusion_model.head.modulation"));
  expect_equal(load_wan_weights(comfyui, specs), expected);
  const fs::path half = exported(checkpoint, "half", {"--layout", "comfyui", "--dtype", "bf16"});
  NamedTensors rounded = expected;
  for (auto& [name, tensor] : rounded) tensor = tensor.to(at::kBFloat16);
  expect_equal(load_wan_weights(half / "diffusion_model.safetensors", specs), rounded);
}

TEST_F(ExportCommand, GivesWhatTrainingLeaves) {
  train("", "callbacks:\n  average: {_target_: ema, decay: 0.5}\n");
  EXPECT_EQ(run_export(folder_ / "out", {"--output", (folder_ / "a").string()}).exit_code, 0);
  EXPECT_EQ(run_export(folder_ / "out", {"--ema", "--output", (folder_ / "b").string()}).exit_code,
            0);
  const NamedTensors weights = read_all(folder_ / "a/transformer");
  const NamedTensors average = read_all(folder_ / "b/transformer");
  expect_equal(weights, read_all(folder_ / "out/diffusers/transformer"));
  expect_equal(average, read_all(folder_ / "out/diffusers_ema/transformer"));
  EXPECT_TRUE(any_differs(weights, average));
}

TEST_F(ExportCommand, SaysInWhichAttentionACausalNetworkWasTrained) {
  const auto config_of = [&](const std::string& pipeline) {
    return read_file(folder_ / pipeline / "transformer/config.json");
  };
  const std::string window = "pipeline: {dit_config: {local_attn_size: 3, sink_size: 1}}\n";
  const std::string dfsft = "diffusion_forcing_sft, chunk_size: 2";
  train(", num_frames_per_block: 2", window, "wan_causal", dfsft);
  ASSERT_EQ(run_export(folder_ / "out", {"--output", (folder_ / "a").string()}).exit_code, 0);
  const auto config = nlohmann::json::parse(config_of("a"));
  EXPECT_EQ(config.value("num_frames_per_block", 0), 2);
  EXPECT_EQ(config.value("local_attn_size", 0), 3);
  EXPECT_EQ(config.value("sink_size", 0), 1);
  EXPECT_EQ(config["_class_name"], "WanTransformer3DModel");
  EXPECT_EQ(config_of("a"), config_of("out/diffusers"));

  fs::remove_all(folder_ / "out");
  train(", num_frames_per_block: 2, lora: {enable: true, rank: 2}", window, "wan_causal", dfsft);
  ASSERT_EQ(
      run_export(folder_ / "out", {"--merge", "--output", (folder_ / "b").string()}).exit_code, 0);
  EXPECT_EQ(config_of("b"), config_of("a"));

  fs::remove_all(folder_ / "out");
  train("", window);
  ASSERT_EQ(run_export(folder_ / "out", {"--output", (folder_ / "c").string()}).exit_code, 0);
  const std::string given = read_file(kReference / "_models/wan_a/transformer/config.json");
  EXPECT_EQ(config_of("c"), given);
  EXPECT_EQ(config_of("out/diffusers"), given);
}

TEST_F(ExportCommand, WritesAdaptersOrMergesThem) {
  train(", lora: {enable: true, rank: 2, alpha: 6.0}", "");
  ASSERT_EQ(
      run_export(folder_ / "out", {"--verify", "--output", (folder_ / "a").string()}).exit_code, 0);
  const LoraWeights adapters = read_lora_file(folder_ / "a");
  EXPECT_EQ(adapters.rank, 2);
  EXPECT_EQ(adapters.alpha, 6.0);
  expect_equal(read_all(folder_ / "a" / kLoraFileName),
               read_all(folder_ / "out/lora" / kLoraFileName));
  ASSERT_EQ(
      run_export(folder_ / "out", {"--merge", "--verify", "--output", (folder_ / "b").string()})
          .exit_code,
      0);
  NamedTensors merged = read_all(kReference / "_models/wan_a/transformer");
  size_t num_merged = 0;
  for (auto& [name, weight] : merged) {
    for (const auto& [a_name, a] : adapters.tensors) {
      if (a_name != name.substr(0, name.rfind('.')) + ".lora_A.weight") continue;
      for (const auto& [b_name, b] : adapters.tensors) {
        const bool partner = b_name == name.substr(0, name.rfind('.')) + ".lora_B.weight";
        if (!partner || !name.ends_with(".weight")) continue;
        weight = weight + 3.0 * b.mm(a);
        ++num_merged;
      }
    }
  }
  EXPECT_EQ(2 * num_merged, adapters.tensors.size());
  const NamedTensors written = read_all(folder_ / "b/transformer");
  ASSERT_EQ(written.size(), merged.size());
  for (size_t i = 0; i < merged.size(); ++i)
    EXPECT_TRUE(at::allclose(written[i].second, merged[i].second, 1e-5, 1e-7)) << merged[i].first;
  EXPECT_THAT(
      run_export(folder_ / "out", {"--layout", "comfyui", "--output", (folder_ / "c").string()})
          .messages,
      HasSubstr("add --merge"));
}

TEST_F(ExportCommand, ReplacesNothingUnasked) {
  const fs::path output = exported("c09_ckpt_1rank/out", "wan");
  write_file_atomically(output / "mine", "x");
  const CommandResult refused =
      run_export(kReference / "c09_ckpt_1rank/out", {"--output", output.string()});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.messages, HasSubstr("must not exist, but it does; --overwrite replaces it"));
  EXPECT_TRUE(fs::exists(output / "mine"));
  exported("c09_ckpt_1rank/out", "wan", {"--overwrite"});
  EXPECT_FALSE(fs::exists(output / "mine"));
  EXPECT_THAT(left_overs(), ElementsAre());
}

TEST_F(ExportCommand, SaysWhatIsWrong) {
  const fs::path run = kReference / "c09_ckpt_1rank/out";
  const auto messages = [&](const fs::path& source, std::vector<std::string> options) {
    options.insert(options.end(), {"--output", (folder_ / "wan").string()});
    const CommandResult result = run_export(source, options);
    EXPECT_EQ(result.exit_code, 1);
    return result.messages;
  };
  const std::string base = (kReference / "_models/wan_tiny").string();
  EXPECT_THAT(messages(run, {}),
              AllOf(HasSubstr("say with --base"), HasSubstr("_models/wan_tiny")));
  EXPECT_THAT(messages(run, {"--base", base, "--role", "critic"}),
              HasSubstr("must hold the role 'critic', but has only student"));
  EXPECT_THAT(messages(run, {"--base", base, "--merge"}), HasSubstr("must train adapters"));
  EXPECT_THAT(messages(run, {"--base", base, "--dtype", "int8"}), HasSubstr("must be bf16"));
  EXPECT_THAT(messages(run, {"--base", (kReference / "_models/wan_a").string()}),
              AllOf(HasSubstr("'blocks.1.attn1.to_q.weight' is missing"),
                    HasSubstr("must have shape [48, 16, 1, 2, 2], but has [24, 16, 1, 2, 2]")));
  EXPECT_THAT(messages(folder_.path(), {}), HasSubstr(folder_.path().string()));
  EXPECT_FALSE(fs::exists(folder_ / "wan"));
  EXPECT_THAT(left_overs(), ElementsAre());
}

TEST_F(ExportCommand, DiffusersComputesTheSame) {
  if (std::system((python() + " -c 'import diffusers' > /dev/null 2>&1").c_str()) != 0)
    GTEST_SKIP() << python() << " cannot import diffusers; set ZOETROPE_REFERENCE_PYTHON";
  train("", "");
  ASSERT_EQ(run_export(folder_ / "out", {"--output", (folder_ / "wan").string()}).exit_code, 0);
  const fs::path transformer = folder_ / "wan/transformer";
  WanTransformer network(read_wan_transformer_config(transformer / "config.json"),
                         {at::kCPU, at::kFloat, false});
  network.parameters().load(load_wan_weights(transformer, network.parameters().specs()));
  const at::Tensor hidden = at::randn({2, 16, 3, 8, 12});
  const at::Tensor timestep = at::tensor({250.0F, 900.0F});
  const at::Tensor text = at::randn({2, 7, network.config().text_dim});
  write_safetensors(folder_ / "forward.safetensors",
                    {{"hidden_states", hidden},
                     {"timestep", timestep},
                     {"encoder_hidden_states", text},
                     {"output", network.forward({hidden, timestep, text, {}})}});
  const std::string command =
      python() + " '" ZOETROPE_SOURCE_DIR "/tools/reference/check_diffusers_folder.py' '" +
      (folder_ / "wan").string() + "' --forward '" + (folder_ / "forward.safetensors").string() +
      "' > '" + (folder_ / "log").string() + "' 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << read_file(folder_ / "log");
  EXPECT_THAT(read_file(folder_ / "log"), HasSubstr("OK: same forward"));
}

}  // namespace
}  // namespace zoetrope::test
