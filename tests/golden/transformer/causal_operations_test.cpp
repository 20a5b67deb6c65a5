// Block-causal passes over whole clips and chunk-by-chunk streaming against recordings of
// FastVideo's causal network.
#include <array>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "recorded_names.h"
#include "transformer_case.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"
#include "zoetrope/networks/wan_transformer/conditioned_inputs.h"

namespace zoetrope::test {
namespace {

constexpr double kTolerance = 1e-5;
constexpr int64_t kTextTokens = 512;

/// A recorded network, attention and conditions, as its description states them.
struct CausalCase {
  CausalCase(const GoldenCase& golden, const nlohmann::json& description)
      : network(load_transformer(golden.folder().parent_path() /
                                     description.at("model").get<std::string>() / "transformer",
                                 {})) {
    WanTransformerConfig config = network->config();
    const nlohmann::json settings = description.value("config_overrides", description);
    config.local_attn_size = settings.value("local_attn_size", config.local_attn_size.value_or(-1));
    config.sink_size = settings.value("sink_size", config.sink_size.value_or(0));
    config.num_frames_per_block =
        description.value("num_frames_per_block", config.num_frames_per_block.value_or(1));
    if (settings.contains("rope_cache_policy"))
      config.rope_cache_policy = settings.at("rope_cache_policy").get<std::string>();
    attention = causal_attention_of(config, std::nullopt);
    if (config.has_text()) {
      const at::Tensor live = golden.tensor("text_live");
      conditioning.text_embedding_BLD =
          at::constant_pad_nd(live, {0, 0, 0, kTextTokens - live.size(1)});
    } else {
      conditioning.image_embedding_BLD = golden.tensor("image_embeds");
      conditioning.image_latents_BTCHW = golden.tensor("image_latents").transpose(1, 2);
      conditioning.keyboard_BFK = golden.tensor("keyboard_cond");
      conditioning.mouse_BF2 = golden.tensor("mouse_cond");
    }
  }

  WanTransformerInputs inputs(const at::Tensor& noisy_BCTHW, const at::Tensor& timestep,
                              int64_t start_frame) const {
    return conditioned_inputs(network->config(), at::kFloat, noisy_BCTHW, timestep, conditioning,
                              start_frame);
  }

  std::unique_ptr<WanTransformer> network;
  CausalAttention attention;
  Conditioning conditioning;
};

bool is_causal_network(const GoldenCase& golden, const nlohmann::json& description,
                       const std::vector<std::string>& classes) {
  return description.contains("model") &&
         is_network_of(golden.folder().parent_path() / description.at("model").get<std::string>() /
                           "transformer",
                       classes);
}

bool is_masked(const GoldenCase& golden, const std::string& name,
               const nlohmann::json& description) {
  return golden.contains(name + ".frame_mask") &&
         is_causal_network(golden, description, {"WanTransformer3DModel"});
}

bool is_streamed(const GoldenCase& golden, const nlohmann::json& description) {
  return description.contains("calls") &&
         is_causal_network(golden, description,
                           {"WanTransformer3DModel", "CausalMatrixGame2WanModel"});
}

template <class Accepts>
std::vector<std::filesystem::path> folders_with(Accepts accepts) {
  return golden_folders_where(golden_root(), [&](const GoldenCase& golden) {
    if (!golden.json().contains("cases")) return false;
    for (const auto& [name, description] : golden.json().at("cases").items()) {
      if (accepts(golden, name, description)) return true;
    }
    return false;
  });
}

class MaskedPasses : public testing::TestWithParam<std::filesystem::path> {
 protected:
  /// Calls `check(name, case, inputs)` for every masked case of the folder.
  template <class Check>
  void for_each_case(Check check) const {
    for (const auto& [name, description] : golden_.json().at("cases").items()) {
      if (!is_masked(golden_, name, description)) continue;
      SCOPED_TRACE(name);
      CausalCase recorded(golden_, description);
      check(name, recorded,
            recorded.inputs(golden_.tensor(name + ".in.hidden_states"),
                            golden_.tensor(name + ".in.timestep"), 0));
    }
  }

  /// Frames whose output does not depend on the reference's defect: in a clip whose last block is
  /// cut, the frames of that block also attend to padding there.
  int64_t num_sound_frames(const std::string& name) const {
    const auto& description = golden_.json().at("cases").at(name);
    const auto frames = description.at("T").get<int64_t>();
    if (description.at("real_tokens_attend_to_padding").get<int64_t>() == 0) return frames;
    return frames - frames % description.at("num_frames_per_block").get<int64_t>();
  }

  void expect_output(const std::string& name, const at::Tensor& output) const {
    const int64_t frames = num_sound_frames(name);
    EXPECT_TENSOR_CLOSE(output.narrow(2, 0, frames),
                        golden_.tensor(name + ".out").narrow(2, 0, frames), kTolerance);
  }

  GoldenCase golden_{GetParam()};
};

TEST_P(MaskedPasses, FramesSeeWhatTheyDidThere) {
  for_each_case(
      [&](const std::string& name, const CausalCase& recorded, const WanTransformerInputs& inputs) {
        const at::Tensor expected = golden_.tensor(name + ".frame_mask").to(at::kBool);
        at::Tensor mask = at::zeros_like(expected);
        for (const AttentionRegion& region :
             block_causal_regions(recorded.attention, inputs.hidden_BCTHW.size(2), 1)) {
          for (const IndexRange& keys : region.keys)
            mask.narrow(0, region.queries.begin, region.queries.size())
                .narrow(1, keys.begin, keys.size())
                .fill_(true);
        }
        EXPECT_TRUE(at::equal(mask, expected)) << mask << expected;
      });
}

TEST_P(MaskedPasses, Operations) {
  size_t num_compared = 0;
  for_each_case(
      [&](const std::string& name, const CausalCase& recorded, const WanTransformerInputs& inputs) {
        recorded.network->set_observer(
            [&, prefix = name + "."](const std::string& path, const at::Tensor& value) {
              const std::string key = prefix + recorded_name(path);
              if (!golden_.contains(key)) return;
              const at::Tensor expected = golden_.tensor(key);
              EXPECT_TENSOR_CLOSE(as_recorded(value, expected), expected, kTolerance) << key;
              ++num_compared;
            });
        expect_output(name, block_causal_forward(*recorded.network, inputs, recorded.attention));
      });
  EXPECT_GE(num_compared, 25U);
}

TEST_P(MaskedPasses, FusedOutputs) {
  for_each_case(
      [&](const std::string& name, const CausalCase& recorded, const WanTransformerInputs& inputs) {
        expect_output(name, block_causal_forward(*recorded.network, inputs, recorded.attention));
      });
}

class StreamedPasses : public testing::TestWithParam<std::filesystem::path> {
 protected:
  static void expect_sums(const at::Tensor& held, const nlohmann::json& sums) {
    const at::Tensor value = held.to(at::kDouble);
    const auto scale = sums.at("abssum").get<double>();
    EXPECT_NEAR(value.sum().item<double>(), sums.at("sum").get<double>(), kTolerance * scale);
    EXPECT_NEAR(value.abs().sum().item<double>(), scale, kTolerance * scale);
    EXPECT_NEAR(value.square().sum().item<double>(), sums.at("sq").get<double>(),
                kTolerance * sums.at("sq").get<double>());
  }

  void expect_cache(const std::string& name, const nlohmann::json& call,
                    const KeyValueCache& cache) const {
    // In the order of our cache's layers.
    const auto num_blocks = static_cast<size_t>(cache.num_blocks());
    const std::array<std::string, 3> kinds = {"kv_cache", "kv_cache_mouse", "kv_cache_keyboard"};
    for (size_t kind = 0; kind < kinds.size(); ++kind) {
      if (!call.at("cache_after").contains(kinds[kind])) continue;
      const nlohmann::json& layers = call.at("cache_after").at(kinds[kind]);
      ASSERT_EQ(layers.size(), num_blocks);
      for (size_t i = 0; i < num_blocks; ++i) {
        if (layers[i].is_null()) continue;
        expect_layer(fmt::format("{}.cache_f{}.{}.{}.", name, call.at("start").get<int64_t>(),
                                 kinds[kind], i),
                     layers[i], cache.held(static_cast<int64_t>(kind * num_blocks + i)));
      }
    }
  }

  void expect_layer(const std::string& key, const nlohmann::json& layer,
                    const CachedBlock& held) const {
    int64_t num_live = layer.at("local_end_index").get<int64_t>();
    for (const size_t axis : {0, 2, 3}) num_live *= layer.at("shape")[axis].get<int64_t>();
    EXPECT_EQ(held.keys.numel(), num_live) << key;
    expect_sums(held.keys, layer.at("k"));
    expect_sums(held.values, layer.at("v"));
    if (!golden_.contains(key + "k_live")) return;
    EXPECT_TENSOR_CLOSE(held.keys, golden_.tensor(key + "k_live").flatten(2), kTolerance);
    EXPECT_TENSOR_CLOSE(held.values, golden_.tensor(key + "v_live").flatten(2), kTolerance);
  }

  void replay(Implementation implementation) const {
    for (const auto& [name, description] : golden_.json().at("cases").items()) {
      if (!is_streamed(golden_, description)) continue;
      SCOPED_TRACE(name);
      CausalCase recorded(golden_, description);
      recorded.network->set_implementation(implementation);
      KeyValueCache cache(name, recorded.network->config(), recorded.attention,
                          description.at("T").get<int64_t>());
      for (const nlohmann::json& call : description.at("calls"))
        replay_call(name, call, recorded, cache);
    }
  }

  void replay_call(const std::string& name, const nlohmann::json& call, CausalCase& recorded,
                   KeyValueCache& cache) const {
    at::NoGradGuard no_grad;
    const auto start = call.at("start").get<int64_t>();
    const int64_t frames = call.at("end").get<int64_t>() - start;
    const at::Tensor chunk_BTCHW = call.contains("in")
                                       ? golden_.tensor(call.at("in").get<std::string>())
                                       : golden_.tensor(name + ".noise").narrow(1, start, frames);
    const at::Tensor timestep = at::full({1, frames}, call.at("t").get<double>());
    const WanTransformerInputs inputs =
        recorded.inputs(chunk_BTCHW.transpose(1, 2), timestep, start);
    const auto store = call.at("store_kv").get<bool>();
    const at::Tensor out_BTCHW =
        streaming_forward(*recorded.network, inputs, cache, {start, store}).transpose(1, 2);
    // With checkpointing the reference's cache never evicts, and its window loses the sinks.
    const bool window_moved = frames + start > cache.capacity_frames();
    const bool never_evicts =
        golden_.json().at("cases").at(name).value("checkpoint_safe_cache", false) && window_moved;
    if (call.contains("out") && !(never_evicts && recorded.attention.sink_size > 0)) {
      const auto key = call.at("out").get<std::string>();
      EXPECT_TENSOR_CLOSE(out_BTCHW, golden_.tensor(key), kTolerance) << key;
    }
    if (call.contains("cache_after") && !never_evicts) expect_cache(name, call, cache);
  }

  GoldenCase golden_{GetParam()};
};

TEST_P(StreamedPasses, PlainOutputsAndCache) {
  replay(Implementation::kPlain);
}
TEST_P(StreamedPasses, FusedOutputsAndCache) {
  replay(Implementation::kFastest);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(MaskedPasses);
INSTANTIATE_TEST_SUITE_P(Cases, MaskedPasses, testing::ValuesIn(folders_with(is_masked)),
                         golden_test_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StreamedPasses);
INSTANTIATE_TEST_SUITE_P(Cases, StreamedPasses,
                         testing::ValuesIn(folders_with([](const GoldenCase& golden,
                                                           const std::string& /*name*/,
                                                           const nlohmann::json& description) {
                           return is_streamed(golden, description);
                         })),
                         golden_test_name);

}  // namespace
}  // namespace zoetrope::test
