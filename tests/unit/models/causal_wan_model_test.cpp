// The causal Wan role: its config, where its window comes from, and its caches.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "support/error_text.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/models/wan/wan_causal_model.h"

namespace zoetrope::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kFrames = 4;

class CausalWanModel : public testing::Test {
 protected:
  CausalWanModel() {
    context_.random = &random_;
    context_.num_latent_frames = kFrames;
    config_.init_from = (reference_root() / "_models/wan_a").string();
    config_.num_frames_per_block = 2;
    at::manual_seed(2);
    noisy_ = at::randn({2, kFrames, 16, 4, 6});
    text_.text_embedding_BLD = at::randn({2, 6, 32});
  }

  /// A copy of the model folder whose transformer/config.json has `keys`, too.
  std::string folder_with(const TemporaryFolder& folder, const nlohmann::json& keys) const {
    const std::filesystem::path source = config_.init_from;
    std::filesystem::copy(source, folder / "model", std::filesystem::copy_options::recursive);
    std::ifstream file(source / "transformer/config.json");
    auto json = nlohmann::json::parse(file);
    json.update(keys);
    std::filesystem::remove(folder / "model/transformer/config.json");
    std::ofstream(folder / "model/transformer/config.json") << json;
    return (folder / "model").string();
  }

  static at::Tensor stream(CausalModelBase& model, const at::Tensor& chunk, double timestep,
                           const Conditioning& text, const StreamingOptions& options) {
    at::NoGradGuard no_grad;
    return model.predict_noise_streaming(chunk, at::scalar_tensor(timestep), text, options);
  }

  KeyedRandomSource random_{4};
  ModelContext context_;
  WanCausalModelConfig config_;
  at::Tensor noisy_;
  Conditioning text_;
};

TEST_F(CausalWanModel, IsCausalAndStreamsToTheSameResult) {
  WanCausalModel model(config_, context_);
  at::NoGradGuard no_grad;
  const at::Tensor timestep = at::tensor({900.0F, 900.0F, 300.5F, 300.5F}).expand({2, 4});
  const at::Tensor whole = model.predict_noise(noisy_, timestep, text_);
  at::Tensor changed = noisy_.clone();
  changed.narrow(1, 2, 2).add_(1);
  EXPECT_TENSOR_CLOSE(model.predict_noise(changed, timestep, text_).narrow(1, 0, 2),
                      whole.narrow(1, 0, 2), 1e-6);
  const at::Tensor first = stream(model, noisy_.narrow(1, 0, 2), 900, text_, {.store_kv = true});
  const at::Tensor second =
      stream(model, noisy_.narrow(1, 2, 2), 300.5, text_, {.cur_start_frame = 2});
  EXPECT_TENSOR_CLOSE(at::cat({first, second}, 1), whole, 1e-5);
}

TEST_F(CausalWanModel, TakesOneTimestepPerClipToo) {
  WanCausalModel model(config_, context_);
  at::NoGradGuard no_grad;
  const at::Tensor rows = at::tensor({700.0F, 200.0F});
  EXPECT_TENSOR_CLOSE(model.predict_noise(noisy_, rows, text_),
                      model.predict_noise(noisy_, rows.unsqueeze(1).expand({2, kFrames}), text_),
                      1e-6);
  // [B] differs from row to row while a scalar does not.
  const at::Tensor chunk = noisy_.narrow(1, 0, 2);
  const at::Tensor out = model.predict_noise_streaming(chunk, rows, text_, {});
  EXPECT_TENSOR_CLOSE(out[0], stream(model, chunk, 700, text_, {})[0], 1e-5);
  EXPECT_TENSOR_CLOSE(out[1], stream(model, chunk, 200, text_, {})[1], 1e-5);
}

TEST_F(CausalWanModel, TimestepsAreNotTruncated) {
  WanCausalModel model(config_, context_);
  const at::Tensor chunk = noisy_.narrow(1, 0, 2);
  EXPECT_FALSE(at::allclose(stream(model, chunk, 937.5, text_, {}),
                            stream(model, chunk, 937, text_, {}), 1e-6, 1e-7));
}

TEST_F(CausalWanModel, CleanLatentsFollowFromTheVelocity) {
  WanCausalModel model(config_, context_);
  at::NoGradGuard no_grad;
  const at::Tensor chunk = noisy_.narrow(1, 0, 2);
  const at::Tensor timestep = at::scalar_tensor(937.5);
  const at::Tensor velocity = model.predict_noise_streaming(chunk, timestep, text_, {});
  const at::Tensor sigma = model.noise_schedule().sigma_at(timestep);
  EXPECT_TENSOR_CLOSE(model.predict_x0_streaming(chunk, timestep, text_, {}),
                      chunk - sigma * velocity, 1e-5);
}

TEST_F(CausalWanModel, CachesAreKeptApartByTheirTag) {
  WanCausalModel model(config_, context_);
  const at::Tensor chunk = noisy_.narrow(1, 0, 2);
  const at::Tensor next = noisy_.narrow(1, 2, 2);
  stream(model, chunk, 0, text_, {.store_kv = true});
  stream(model, chunk + 1, 0, text_, {.cache_tag = "neg", .store_kv = true});
  const at::Tensor positive = stream(model, next, 500, text_, {.cur_start_frame = 2});
  EXPECT_FALSE(at::allclose(
      stream(model, next, 500, text_, {.cache_tag = "neg", .cur_start_frame = 2}), positive));
  model.clear_caches("neg");
  EXPECT_TRUE(at::equal(stream(model, next, 500, text_, {.cur_start_frame = 2}), positive));
  EXPECT_THAT(error_of([&] {
                stream(model, next, 500, text_, {.cache_tag = "neg", .cur_start_frame = 2});
              }),
              HasSubstr("cache 'neg'"));
  EXPECT_NO_THROW(model.clear_caches("never used"));
}

// Also with weights that have changed since the cache was filled, and a ring that has gone round.
TEST_F(CausalWanModel, ARestoredCacheGivesTheSameBits) {
  const TemporaryFolder folder;
  config_.init_from = folder_with(folder, {{"local_attn_size", 3}, {"sink_size", 1}});
  config_.num_frames_per_block = 1;
  for (const auto implementation : {Implementation::kPlain, Implementation::kFastest}) {
    WanCausalModel model(config_, context_);
    WanCausalModel other(config_, context_);
    model.transformer().set_implementation(implementation);
    other.transformer().set_implementation(implementation);
    EXPECT_TRUE(model.cache_state("long").empty());
    for (int64_t frame = 0; frame < kFrames; ++frame) {
      stream(model, noisy_.narrow(1, frame, 1), 0, text_,
             {.cache_tag = "long", .store_kv = true, .cur_start_frame = frame});
    }
    const StateDict state = model.cache_state("long");
    for (WanCausalModel* changed : {&model, &other}) {
      at::NoGradGuard no_grad;
      for (const ParameterGroup& group : changed->parameters().groups())
        group.flat_master.mul_(1.125);
    }
    Conditioning same_text;
    same_text.text_embedding_BLD = text_.text_embedding_BLD.clone();
    other.load_cache_state("long", state, same_text);
    const StreamingOptions next = {.cache_tag = "long", .cur_start_frame = kFrames};
    const at::Tensor chunk = noisy_.narrow(1, 1, 1);
    const at::Tensor expected = stream(model, chunk, 500, text_, next);
    EXPECT_TRUE(at::equal(stream(other, chunk, 500, same_text, next), expected));
    const at::Tensor timestep = at::scalar_tensor(500.0);
    EXPECT_TRUE(at::equal(other.predict_noise_streaming(chunk, timestep, same_text, next),
                          model.predict_noise_streaming(chunk, timestep, text_, next)));
    other.clear_caches("long");
    EXPECT_THAT(error_of([&] { stream(other, chunk, 500, same_text, next); }),
                HasSubstr("holds frames up to 0"));
  }
}

TEST_F(CausalWanModel, RefusesTheCacheOfAnotherWindow) {
  WanCausalModel model(config_, context_);
  stream(model, noisy_.narrow(1, 0, 2), 0, text_, {.store_kv = true});
  const StateDict state = model.cache_state("pos");
  context_.num_latent_frames = kFrames + 1;
  WanCausalModel other(config_, context_);
  EXPECT_THAT(error_of([&] { other.load_cache_state("pos", state, text_); }),
              HasSubstr("must have the same window, but has 4 frames with 0 sinks instead of 5"));
}

TEST_F(CausalWanModel, HoldsTheConfiguredFramesWhenUnbounded) {
  WanCausalModel model(config_, context_);
  stream(model, noisy_.narrow(1, 0, 2), 0, text_, {.store_kv = true});
  stream(model, noisy_.narrow(1, 2, 2), 0, text_, {.store_kv = true, .cur_start_frame = 2});
  EXPECT_THAT(
      error_of([&] { stream(model, noisy_.narrow(1, 0, 2), 0, text_, {.cur_start_frame = 4}); }),
      HasSubstr("has room for 4 frames because local_attn_size is unbounded, but frame 5"));
}

TEST_F(CausalWanModel, WindowComesFromTheCheckpointOrElseFromTheRun) {
  EXPECT_EQ(WanCausalModel(config_, context_).attention().local_attn_size, std::nullopt);
  context_.local_attn_size = 6;
  context_.sink_size = 1;
  const WanCausalModel of_run(config_, context_);
  EXPECT_EQ(of_run.attention().local_attn_size, 6);
  EXPECT_EQ(of_run.attention().sink_size, 1);

  const TemporaryFolder folder;
  config_.init_from =
      folder_with(folder, {{"local_attn_size", 5}, {"num_frames_per_block", 3}, {"sink_size", 0}});
  testing::internal::CaptureStderr();
  const WanCausalModel of_checkpoint(config_, context_);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("'local_attn_size' is 5, which is used; pipeline.dit_config."
                        "local_attn_size: 6 is not"));
  EXPECT_EQ(of_checkpoint.attention().local_attn_size, 5);
  EXPECT_EQ(of_checkpoint.attention().sink_size, 0);
  EXPECT_EQ(of_checkpoint.num_frames_per_block(), 2) << "the role's own key";
  config_.num_frames_per_block.reset();
  EXPECT_EQ(WanCausalModel(config_, context_).num_frames_per_block(), 3);
}

TEST_F(CausalWanModel, ExportsTheAttentionInWhichItWasTrained) {
  const TemporaryFolder folder;
  const auto config_of = [](const std::filesystem::path& pipeline) {
    return read_file(pipeline / "transformer/config.json");
  };
  const auto exported = [&](WanModel& model, const std::string& name) {
    model.export_pipeline(folder / name, model.parameters().tensors());
    return folder / name;
  };
  const auto given = nlohmann::json::parse(config_of(config_.init_from));
  WanCausalModel unbounded(config_, context_);
  auto expected = given;
  expected["num_frames_per_block"] = 2;
  const auto unbounded_folder = exported(unbounded, "unbounded");
  EXPECT_EQ(nlohmann::json::parse(config_of(unbounded_folder)), expected);

  context_.local_attn_size = 6;
  context_.sink_size = 1;
  WanCausalModel windowed(config_, context_);
  expected.update({{"local_attn_size", 6}, {"sink_size", 1}});
  const auto windowed_folder = exported(windowed, "windowed");
  EXPECT_EQ(nlohmann::json::parse(config_of(windowed_folder)), expected);

  // A run that goes on from it says nothing, or something else.
  const CausalAttention trained = windowed.attention();
  config_.init_from = windowed_folder.string();
  config_.num_frames_per_block.reset();
  context_.local_attn_size.reset();
  context_.sink_size.reset();
  EXPECT_EQ(WanCausalModel(config_, context_).attention(), trained);
  context_.local_attn_size = 12;
  WanCausalModel next(config_, context_);
  EXPECT_EQ(next.attention(), trained);
  EXPECT_EQ(config_of(exported(next, "next")), config_of(windowed_folder));
  config_.init_from = unbounded_folder.string();
  EXPECT_EQ(WanCausalModel(config_, context_).attention().local_attn_size, 12);
}

TEST_F(CausalWanModel, ABidirectionalExportKeepsTheConfigFile) {
  const TemporaryFolder folder;
  config_.init_from = folder_with(folder, {{"local_attn_size", 5}});
  context_.local_attn_size = 6;
  WanModel model(config_, context_);
  model.export_pipeline(folder / "exported", model.parameters().tensors());
  EXPECT_EQ(read_file(folder / "exported/transformer/config.json"),
            read_file(folder / "model/transformer/config.json"));
}

TEST_F(CausalWanModel, RefusesAWindowThatDoesNotHoldABlock) {
  context_.local_attn_size = 2;
  context_.sink_size = 1;
  EXPECT_THAT(error_of([&] { WanCausalModel(config_, context_); }),
              HasSubstr("must hold the sinks and a block, 1 + 2 frames, but is 2"));
}

TEST_F(CausalWanModel, ReadsCausalConfigsAndNamesWhatIsWrongInThem) {
  const TemporaryFolder folder;
  const std::string causal = folder_with(folder, {{"_class_name", "CausalWanTransformer3DModel"},
                                                  {"local_attn_size", -1},
                                                  {"rope_cache_policy", "relativistic"}});
  const auto path = std::filesystem::path(causal) / "transformer/config.json";
  const WanTransformerConfig config = read_wan_transformer_config(path);
  EXPECT_EQ(parse_wan_transformer_config(nlohmann::json(to_json(config)), "here"), config);
  config_.init_from = causal;
  EXPECT_EQ(WanCausalModel(config_, context_).attention().rotary_policy, RotaryPolicy::kRelative);
  nlohmann::json wrong = to_json(config);
  wrong["local_attn_size"] = 0;
  wrong["sink_size"] = -1;
  wrong["rope_cache_policy"] = "newtonian";
  const std::string message = error_of([&] { parse_wan_transformer_config(wrong, "here"); });
  EXPECT_THAT(message, HasSubstr("'local_attn_size' must be -1 or a positive integer, but is 0"));
  EXPECT_THAT(message, HasSubstr("'sink_size' must be an integer of at least 0, but is -1"));
  EXPECT_THAT(message, HasSubstr("'rope_cache_policy' must be one of absolute, relativistic"));
}

TEST(CausalWanModelConfig, BlocksAreOfOneToThreeFrames) {
  const auto faults_of = [](const std::string& yaml) {
    return error_of([&] {
      config::Issues issues;
      WanCausalModelConfig config;
      config::schema_of<WanCausalModelConfig>().read(config::parse_yaml(yaml, "run.yaml"), &config,
                                                     {issues, "models.student"});
      issues.throw_if_any();
    });
  };
  EXPECT_EQ(faults_of("{init_from: x, num_frames_per_block: 3, flow_shift: 5}"), "no error");
  EXPECT_THAT(faults_of("{init_from: x, num_frames_per_block: 4}"),
              HasSubstr("models.student.num_frames_per_block: must be between 1 and 3, but got"));
  EXPECT_THAT(faults_of("{num_frames_per_block: 0}"), HasSubstr("init_from"));
}

}  // namespace
}  // namespace zoetrope::test
