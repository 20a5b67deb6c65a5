#include "zoetrope/distributed/sequence_shard.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/ranks.h"
#include "zoetrope/distributed/sequence_gradients.h"

namespace zoetrope {
namespace {

struct ShardCase {
  int64_t ranks;
  int64_t num_tokens;
};

class Shards : public testing::TestWithParam<ShardCase> {
 protected:
  void on_ranks(const std::function<void(const SequenceShard&, Group&)>& body) {
    run_ranks({.shard = GetParam().ranks}, [&](const Mesh& mesh) {
      body(SequenceShard(mesh.world, GetParam().num_tokens), *mesh.world);
    });
  }
};

/// Distinct numbers; no two elements of any two such tensors are alike.
at::Tensor numbers(at::IntArrayRef shape, int64_t first) {
  return at::arange(first, first + c10::multiply_integers(shape), at::kFloat).view(shape);
}

TEST_P(Shards, PartsOfTokensMakeTheWhole) {
  on_ranks([](const SequenceShard& shard, Group& group) {
    const at::Tensor tokens_BNE = numbers({2, shard.num_tokens(), 3}, 1);
    const at::Tensor own = shard.own_tokens(tokens_BNE);
    EXPECT_EQ(own.sizes(), (std::vector<int64_t>{2, shard.num_own(), 3}));
    EXPECT_TRUE(shard.all_tokens(own).equal(tokens_BNE));
    const at::Tensor total = own.sum().view({1}).clone();
    group.all_reduce_sum(total).wait();
    EXPECT_EQ(total.item<float>(), tokens_BNE.sum().item<float>()) << "padding is zero";
    // Rank r has 1, 2, 3... times the tokens; rows in the order of tokens.
    const double ranks = static_cast<double>(group.size());
    const at::Tensor sum = shard.sum_own_tokens(tokens_BNE * (group.index() + 1));
    EXPECT_TRUE(sum.equal(own * (ranks * (ranks + 1) / 2)));
  });
}

TEST_P(Shards, HeadsAndTokensAreExchangedAndBack) {
  on_ranks([](const SequenceShard& shard, Group& group) {
    constexpr int64_t kHeadShare = 3;
    const int64_t width = kHeadShare * group.size();
    const at::Tensor a = numbers({2, shard.num_tokens(), width}, 1);
    const at::Tensor b = -a;
    const at::Tensor own_a = shard.own_tokens(a);
    const at::Tensor own_b = shard.own_tokens(b);
    const std::vector<at::Tensor> heads = shard.scatter_heads({own_a, own_b});
    EXPECT_TRUE(heads[0].equal(a.narrow(2, kHeadShare * group.index(), kHeadShare)));
    EXPECT_TRUE(heads[1].equal(b.narrow(2, kHeadShare * group.index(), kHeadShare)));
    if (shard.is_whole()) return;
    const at::Tensor back = at::full({2, shard.num_own(), 2 * width}, 7.0F);
    shard.gather_heads(heads, {back.narrow(2, 0, width), back.narrow(2, width, width)});
    EXPECT_TRUE(back.equal(at::cat({own_a, own_b}, 2))) << "padding is zero again";
  });
}

TEST_P(Shards, RowsOfTokensStayBesideTheirTokens) {
  on_ranks([](const SequenceShard& shard, Group&) {
    for (const int64_t num_rows : {int64_t{1}, shard.num_tokens() / 3, shard.num_tokens()}) {
      const at::Tensor rows = numbers({2, num_rows, 1}, 1);
      const at::Tensor by_token = rows.repeat_interleave(shard.num_tokens() / num_rows, 1);
      const at::Tensor own = shard.own_rows(rows);
      ASSERT_EQ(shard.num_own() % own.size(1), 0);
      const at::Tensor own_by_token = own.repeat_interleave(shard.num_own() / own.size(1), 1);
      const at::Tensor expected = shard.own_tokens(by_token);
      EXPECT_TRUE(at::where(expected != 0, own_by_token, 0).equal(expected)) << num_rows;
    }
  });
}

// sum_r <map(x)_r, d_r> = sum_r <x_r, map's gradient(d)_r> for every linear map.
TEST_P(Shards, GradientsAreTheAdjointMaps) {
  on_ranks([](const SequenceShard& shard, Group& group) {
    const auto expect_adjoint = [&](const std::vector<at::Tensor>& outputs, const at::Tensor& x) {
      at::Tensor sums = at::zeros({2});
      at::Tensor loss = at::zeros({});
      for (const at::Tensor& output : outputs)
        loss = loss + (output * at::cos(numbers(output.sizes(), group.index()))).sum();
      loss.backward();
      sums[0] = loss.detach();
      sums[1] = (x.grad() * x).sum().detach();
      group.all_reduce_sum(sums).wait();
      EXPECT_NEAR(sums[0].item<double>(), sums[1].item<double>(),
                  1e-4 * std::abs(sums[0].item<double>()) + 1e-4);
    };
    const auto leaf = [&](at::IntArrayRef shape) {
      return at::sin(numbers(shape, 31 * group.index())).set_requires_grad(true);
    };
    const int64_t width = 2 * group.size();
    const at::Tensor own = leaf({2, shard.num_own(), width});
    expect_adjoint(scatter_heads(shard, {own, own * 2, own * own.detach()}), own);
    const at::Tensor heads = leaf({2, shard.num_tokens(), 2});
    expect_adjoint({gather_heads(shard, heads)}, heads);
    const at::Tensor part = leaf({2, shard.num_own(), width});
    expect_adjoint({gather_tokens(shard, part, GatheredGradient::kPart)}, part);
  });
}

TEST_P(Shards, GradientsOfWhatAllRanksShareAreWholeOnEach) {
  on_ranks([](const SequenceShard& shard, Group&) {
    const at::Tensor x = numbers({2, shard.num_tokens(), 3}, 1).set_requires_grad(true);
    const at::Tensor doubled = 2 * split_tokens(shard, x);
    const at::Tensor all = gather_tokens(shard, doubled, GatheredGradient::kSame);
    const at::Tensor weight = at::cos(numbers(all.sizes(), 5));
    (all * weight).sum().backward();
    EXPECT_TRUE(x.grad().equal(2 * weight));
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, Shards,
                         testing::Values(ShardCase{1, 6}, ShardCase{2, 6}, ShardCase{2, 9},
                                         ShardCase{3, 12}, ShardCase{4, 6}, ShardCase{4, 3}),
                         [](const auto& parameter) {
                           return std::to_string(parameter.param.num_tokens) + "TokensOn" +
                                  std::to_string(parameter.param.ranks);
                         });

}  // namespace
}  // namespace zoetrope
