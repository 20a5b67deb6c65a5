// A Wan transformer whose tokens or layers several ranks share gives what one rank gives: outputs,
// gradients of the inputs, and gradients of the parameters, as sums over ranks or parts of them.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "support/error_text.h"
#include "support/golden.h"
#include "support/ranks.h"
#include "support/small_network.h"
#include "zoetrope/distributed/sharded_parameters.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"

namespace zoetrope::test {
namespace {

enum class Pass { kBidirectional, kCausal, kTeacherForcing };
enum class Conditions { kText, kTextAndImage, kActions, kCausalActions };

struct ParallelCase {
  const char* name = "";
  int64_t ranks = 2;  ///< that share the tokens
  int64_t tensor_ranks = 1;
  Pass pass = Pass::kBidirectional;
  Conditions conditions = Conditions::kText;
  std::vector<int64_t> timestep_shape = {2};
  std::vector<int64_t> clip = {3, 4, 6};  ///< latent frames, rows and columns
  bool lora = false;
  Checkpointing checkpointing = Checkpointing::kNone;
};

WanTransformerConfig config_of(const ParallelCase& c) {
  WanTransformerConfig config = small_network(/*num_heads=*/4);
  if (c.conditions == Conditions::kText) return config;
  const bool is_game = c.conditions != Conditions::kTextAndImage;
  if (is_game) make_game_network(config, {1}, c.conditions == Conditions::kCausalActions);
  config.image_dim = 7;
  config.added_kv_proj_dim = config.width();
  return config;
}

WanTransformerInputs inputs_of(const ParallelCase& c) {
  const WanTransformerConfig config = config_of(c);
  at::manual_seed(11);
  WanTransformerInputs inputs;
  inputs.hidden_BCTHW = at::randn({2, 4, c.clip[0], c.clip[1], c.clip[2]});
  if (c.pass == Pass::kTeacherForcing) inputs.clean_BCTHW = at::randn_like(inputs.hidden_BCTHW);
  inputs.timestep = at::rand(c.timestep_shape) * 1000;
  if (config.has_text()) {
    inputs.text_BLE = at::randn({2, 12, config.text_dim});
    inputs.text_BLE.narrow(1, 7, 5).zero_();
  }
  if (config.image_dim) inputs.image_BLE = at::randn({2, 5, *config.image_dim});
  const int64_t num_rows = 4 * (c.clip[0] - 1) + 1;
  if (config.action) inputs.actions = {at::randn({2, num_rows, 3}), at::randn({2, num_rows, 2})};
  return inputs;
}

/// What every rank starts from; made once, because threads share ATen's generator.
struct Start {
  explicit Start(const ParallelCase& c)
      : inputs(inputs_of(c)), adapters{4, 8.0, {"to_q", "ffn.net.2", "add_k_proj", "proj_out"}} {
    WanTransformer network(config_of(c), {at::kCPU, at::kFloat, /*trainable=*/false});
    at::manual_seed(12);
    weights = random_weights(network.parameters().specs());
    if (c.lora)
      adapter_weights = random_weights(network.add_adapters(adapters).parameters().specs());
    output_weight = at::randn_like(inputs.hidden_BCTHW);
  }

  WanTransformerInputs inputs;
  LoraOptions adapters;
  NamedTensors weights, adapter_weights;
  at::Tensor output_weight;  ///< of the loss
};

struct Result {
  at::Tensor output;
  at::Tensor input_gradient;
  NamedTensors gradients;
};

at::Tensor forward(WanTransformer& network, const ParallelCase& c,
                   const WanTransformerInputs& inputs) {
  if (c.pass == Pass::kBidirectional) return network.forward(inputs);
  return block_causal_forward(network, inputs, {.num_frames_per_block = 2, .local_attn_size = {}});
}

struct Precision {
  Implementation implementation;
  at::ScalarType dtype;
};

/// By name, summed over the ranks of `group`.
NamedTensors summed_gradients(const ParameterStore& parameters, Group& group) {
  std::vector<at::Tensor> gradients;
  std::vector<int64_t> sizes;
  for (const TensorSpec& spec : parameters.specs()) {
    gradients.push_back(parameters.at(spec.name).gradient.to(at::kFloat).flatten());
    sizes.push_back(gradients.back().numel());
  }
  const at::Tensor sums = at::cat(gradients);
  group.all_reduce_sum(sums).wait();
  NamedTensors named;
  for (const at::Tensor& sum : sums.split_with_sizes(sizes)) {
    const TensorSpec spec = parameters.specs()[named.size()];
    named.emplace_back(spec.name, sum.view(spec.shape));
  }
  return named;
}

Result run(const ParallelCase& c, const Start& start, const Precision& precision,
           const Mesh& mesh) {
  WanTransformer network(config_of(c), {at::kCPU, precision.dtype, !c.lora}, mesh.tensor);
  network.parameters().load(start.weights);
  if (c.lora) network.add_adapters(start.adapters).parameters().load(start.adapter_weights);
  network.set_implementation(precision.implementation);
  network.set_checkpointing(c.checkpointing);
  network.set_sequence_group(mesh.sequence);
  WanTransformerInputs inputs = start.inputs;
  inputs.hidden_BCTHW = inputs.hidden_BCTHW.clone().set_requires_grad(true);
  Result result;
  // Two micro-batches: the second must add to the gradients of the first.
  for (int round = 0; round < 2; ++round) {
    const at::Tensor output = forward(network, c, inputs);
    (output.to(at::kFloat) * start.output_weight).sum().backward();
    result.output = output.detach().to(at::kFloat);
  }
  result.input_gradient = inputs.hidden_BCTHW.grad();
  result.gradients = summed_gradients(
      c.lora ? network.adapters()->parameters() : network.parameters(), *mesh.sequence);
  return result;
}

double norm_of(const NamedTensors& tensors) {
  double total = 0;
  for (const auto& [name, tensor] : tensors) total += tensor.square().sum().item<double>();
  return std::sqrt(total);
}

double distance(const NamedTensors& a, const NamedTensors& b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i)
    total += (a[i].second - b[i].second).square().sum().item<double>();
  return std::sqrt(total);
}

/// `whole` with the parts of its gradients that a rank with the result `own` has.
Result part_for(const Mesh& mesh, const Result& whole, const Result& own) {
  Result part = whole;
  for (size_t i = 0; i < part.gradients.size(); ++i) {
    part.gradients[i].second =
        part_of(mesh.tensor, whole.gradients[i].second, own.gradients[i].second.sizes());
  }
  return part;
}

void expect_equal(const Result& shared, const Result& one) {
  EXPECT_TENSOR_CLOSE(shared.output, one.output, 1e-6);
  EXPECT_TENSOR_CLOSE(shared.input_gradient, one.input_gradient, 1e-5);
  const double total = norm_of(one.gradients);
  for (size_t i = 0; i < one.gradients.size(); ++i) {
    const auto& [name, expected] = one.gradients[i];
    // Beside the relative bound, errors below 1e-7 of the whole gradient are rounding.
    EXPECT_LT((shared.gradients[i].second - expected).norm().item<double>(),
              1e-5 * expected.norm().item<double>() + 1e-7 * total)
        << name;
  }
}

/// Both round: what ranks share may not be further from the truth.
void expect_as_near(const Result& shared, const Result& one, const Result& truth) {
  const auto error = [](const at::Tensor& value, const at::Tensor& expected) {
    return (value - expected).norm().item<double>();
  };
  EXPECT_LT(error(shared.output, truth.output), 1.3 * error(one.output, truth.output));
  EXPECT_LT(error(shared.input_gradient, truth.input_gradient),
            1.3 * error(one.input_gradient, truth.input_gradient));
  EXPECT_LT(distance(shared.gradients, truth.gradients),
            1.3 * distance(one.gradients, truth.gradients));
}

/// Gradients of what every tensor-parallel rank has whole.
void expect_same_bits(const Mesh& mesh, const Result& own, const Result& one) {
  for (size_t i = 0; i < one.gradients.size(); ++i) {
    const auto& [name, gradient] = own.gradients[i];
    if (gradient.sizes() != one.gradients[i].second.sizes()) continue;
    const at::Tensor all = at::empty({mesh.tensor->size(), gradient.numel()});
    mesh.tensor->all_gather(gradient.flatten(), all.view({-1})).wait();
    EXPECT_TRUE(all.equal(all[0].expand_as(all))) << name;
  }
}

class ModelParallel : public testing::TestWithParam<ParallelCase> {};

// All in one test, because it takes longer to connect ranks than to run this.
TEST_P(ModelParallel, OutputsAndGradientsAreThoseOfOneRank) {
  const ParallelCase& c = GetParam();
  const Start start(c);
  constexpr std::array kImplementations = {Implementation::kFastest, Implementation::kPlain};
  std::vector<Result> one;
  std::vector<Result> one_bf16;
  for (const Implementation implementation : kImplementations) {
    one.push_back(run(c, start, {implementation, at::kFloat}, {}));
    one_bf16.push_back(run(c, start, {implementation, at::kBFloat16}, {}));
  }
  const MeshSizes sizes{.shard = c.ranks, .sequence = c.ranks, .tensor = c.tensor_ranks};
  run_ranks(sizes, [&](const Mesh& mesh) {
    for (size_t i = 0; i < one.size(); ++i) {
      SCOPED_TRACE(i == 0 ? "fused" : "plain");
      const Precision fp32{kImplementations[i], at::kFloat};
      const Precision bf16{kImplementations[i], at::kBFloat16};
      if (c.tensor_ranks > 1 && i == 0) continue;  // only plain blocks are split
      const Result shared = run(c, start, fp32, mesh);
      const Result expected = part_for(mesh, one[i], shared);
      expect_equal(shared, expected);
      expect_same_bits(mesh, shared, one[i]);
      expect_as_near(run(c, start, bf16, mesh), part_for(mesh, one_bf16[i], shared), expected);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ModelParallel,
    testing::Values(
        ParallelCase{.name = "GroupOfOne", .ranks = 1}, ParallelCase{.name = "TwoRanks"},
        ParallelCase{.name = "Padded", .ranks = 4},
        ParallelCase{.name = "FewerTokensThanRanks", .ranks = 4, .clip = {1, 2, 4}},
        ParallelCase{.name = "Image", .ranks = 2, .conditions = Conditions::kTextAndImage},
        ParallelCase{.name = "PerFrame", .ranks = 4, .timestep_shape = {2, 3}},
        ParallelCase{.name = "PerToken", .ranks = 4, .timestep_shape = {2, 18}},
        ParallelCase{.name = "Causal", .ranks = 4, .pass = Pass::kCausal, .timestep_shape = {2, 3}},
        ParallelCase{.name = "TeacherForcing",
                     .ranks = 4,
                     .pass = Pass::kTeacherForcing,
                     .timestep_shape = {2, 3},
                     .clip = {3, 2, 6}},
        ParallelCase{.name = "Lora", .ranks = 4, .lora = true},
        ParallelCase{.name = "Actions", .ranks = 4, .conditions = Conditions::kActions},
        ParallelCase{.name = "CausalActions",
                     .ranks = 4,
                     .pass = Pass::kCausal,
                     .conditions = Conditions::kCausalActions,
                     .timestep_shape = {2, 3}},
        ParallelCase{.name = "Recomputed",
                     .ranks = 4,
                     .timestep_shape = {2, 3},
                     .checkpointing = Checkpointing::kFull},
        ParallelCase{.name = "TeacherForcingRecomputed",
                     .ranks = 2,
                     .pass = Pass::kTeacherForcing,
                     .timestep_shape = {2, 3},
                     .checkpointing = Checkpointing::kFull},
        ParallelCase{.name = "ActionsRecomputed",
                     .ranks = 4,
                     .conditions = Conditions::kActions,
                     .checkpointing = Checkpointing::kFull},
        ParallelCase{.name = "Tensor", .ranks = 1, .tensor_ranks = 4},
        ParallelCase{.name = "TensorImage",
                     .ranks = 1,
                     .tensor_ranks = 2,
                     .conditions = Conditions::kTextAndImage},
        ParallelCase{.name = "TensorCausalActions",
                     .ranks = 1,
                     .tensor_ranks = 2,
                     .pass = Pass::kCausal,
                     .conditions = Conditions::kCausalActions,
                     .timestep_shape = {2, 3}},
        ParallelCase{.name = "TensorRecomputed",
                     .ranks = 1,
                     .tensor_ranks = 4,
                     .timestep_shape = {2, 3},
                     .checkpointing = Checkpointing::kFull},
        ParallelCase{.name = "TensorLora",
                     .ranks = 1,
                     .tensor_ranks = 4,
                     .conditions = Conditions::kTextAndImage,
                     .lora = true},
        ParallelCase{.name = "SequenceAndTensorLora",
                     .ranks = 2,
                     .tensor_ranks = 2,
                     .timestep_shape = {2, 3},
                     .lora = true,
                     .checkpointing = Checkpointing::kFull},
        ParallelCase{
            .name = "SequenceAndTensor", .ranks = 2, .tensor_ranks = 2, .timestep_shape = {2, 3}},
        ParallelCase{.name = "SequenceAndTensorForcing",
                     .ranks = 2,
                     .tensor_ranks = 2,
                     .pass = Pass::kTeacherForcing,
                     .timestep_shape = {2, 3},
                     .checkpointing = Checkpointing::kFull}),
    [](const auto& parameter) { return parameter.param.name; });

/// Bytes that a rank sends in one pass's exchanges of one block: queries, keys, values and what was
/// attended to, each [B, n, D], of which it keeps the part of its own heads.
int64_t exchanged_bytes(const WanTransformerConfig& config, int64_t batch, int64_t num_own,
                        int64_t ranks) {
  return 4 * batch * num_own * config.width() * 4 * (ranks - 1) / ranks;
}

TEST(ModelParallelTraffic, IsWhatTheFormulaSays) {
  constexpr int64_t kRanks = 4;
  constexpr int64_t kOwnTokens = 5;  // of 18, made 20
  for (const bool recompute : {false, true}) {
    const ParallelCase c{.name = "Traffic",
                         .ranks = kRanks,
                         .checkpointing = recompute ? Checkpointing::kFull : Checkpointing::kNone};
    const WanTransformerConfig config = config_of(c);
    const Start start(c);
    const int64_t block = exchanged_bytes(config, 2, kOwnTokens, kRanks);
    const int64_t outputs = 2 * kOwnTokens * 16 * 4 * (kRanks - 1);
    for (const Implementation implementation : {Implementation::kFastest, Implementation::kPlain}) {
      run_ranks({.shard = kRanks, .sequence = kRanks}, [&](const Mesh& mesh) {
        WanTransformer network(config, {at::kCPU, at::kFloat, true});
        network.parameters().load(start.weights);
        network.set_implementation(implementation);
        network.set_checkpointing(c.checkpointing);
        network.set_sequence_group(mesh.sequence);
        {
          const at::NoGradGuard no_grad;
          network.forward(start.inputs);
        }
        EXPECT_EQ(mesh.sequence->traffic().num_bytes, config.num_layers * block + outputs);
        EXPECT_EQ(mesh.sequence->traffic().num_calls, config.num_layers * 2 + 1);
        network.forward(start.inputs).sum().backward();
        const int64_t passes = recompute ? 4 : 3;  // one of them without gradient
        EXPECT_EQ(mesh.sequence->traffic().num_bytes,
                  passes * config.num_layers * block + 2 * outputs);
        EXPECT_EQ(mesh.sequence->traffic().num_calls, passes * config.num_layers * 2 + 2);
      });
    }
  }
}

TEST(ModelParallelConfig, RefusesHeadsThatRanksCannotShare) {
  run_ranks({.shard = 3, .sequence = 3}, [](const Mesh& mesh) {
    WanTransformer network(config_of({}), {});
    EXPECT_THAT(error_of([&] { network.set_sequence_group(mesh.sequence); }),
                testing::HasSubstr("must divide the network's 4 heads, but is 3 x 1"));
  });
}

TEST(ModelParallelWeights, PartsMakeTheWholeAgain) {
  const ParallelCase c{.conditions = Conditions::kTextAndImage};
  const Start start(c);
  run_ranks({.tensor = 4}, [&](const Mesh& mesh) {
    WanTransformer network(config_of(c), {}, mesh.tensor);
    network.parameters().load(start.weights);
    EXPECT_LT(3 * network.parameters().num_parameters(),
              2 * WanTransformer(config_of(c), {}).parameters().num_parameters());
    network.parameters().set_residency(std::make_unique<ShardedParameters>(
        network.parameters(), ShardedParameters::Groups{mesh.shard, mesh.replicate, mesh.tensor},
        ShardingOptions{}, nullptr));
    const NamedTensors whole = network.parameters().tensors();
    ASSERT_EQ(whole.size(), start.weights.size());
    for (size_t i = 0; i < whole.size(); ++i)
      EXPECT_TRUE(whole[i].second.equal(start.weights[i].second)) << whole[i].first;
  });
}

// Whatever the layout, random initialization draws the same numbers.
TEST(ModelParallelWeights, InitialValuesArePartsOfTheWhole) {
  const auto initialized = [](const GroupPointer& group) {
    auto network = std::make_unique<WanTransformer>(
        config_of({}), ParameterStore::Options{at::kCPU, at::kFloat, /*trainable=*/false}, group);
    initialize_wan_transformer(network->parameters(), 7);
    KeyedRandomSource random(8);
    network->add_adapters({4, 8.0, {"to_q", "ffn.net.2", "proj_out"}}).initialize(random);
    return network;
  };
  const auto one = initialized(nullptr);
  run_ranks({.tensor = 4}, [&](const Mesh& mesh) {
    const auto part = initialized(mesh.tensor);
    for (const auto& [own, whole] :
         {std::pair(&part->parameters(), &one->parameters()),
          std::pair(&part->adapters()->parameters(), &one->adapters()->parameters())}) {
      EXPECT_LT(own->num_parameters(), whole->num_parameters());
      for (const TensorSpec& spec : own->specs()) {
        EXPECT_TRUE(
            own->value(spec.name).equal(part_of(mesh.tensor, whole->value(spec.name), spec.shape)))
            << spec.name;
      }
    }
  });
}

TEST(ModelParallelConfig, RefusesLayersThatRanksCannotShare) {
  WanTransformerConfig config = config_of({});
  config.ffn_dim = 71;
  run_ranks({.tensor = 2}, [&](const Mesh& mesh) {
    EXPECT_THAT(error_of([&] { WanTransformer network(config, {}, mesh.tensor); }),
                testing::HasSubstr("must divide the feed-forward's 71 features, but is 2"));
  });
}

}  // namespace
}  // namespace zoetrope::test
