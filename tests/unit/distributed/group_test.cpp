#include "zoetrope/distributed/group.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/ranks.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

at::Tensor numbers(int64_t rank, int64_t count) {
  return at::arange(count, at::kFloat) + static_cast<double>(100 * rank);
}

class Collectives : public testing::TestWithParam<int64_t> {
 protected:
  void on_all_ranks(const std::function<void(Group&)>& body) {
    run_ranks({.shard = GetParam()}, [&](const Mesh& mesh) { body(*mesh.world); });
  }
};

TEST_P(Collectives, AllGatherPutsPartsInOrder) {
  on_all_ranks([](Group& group) {
    const at::Tensor all = at::zeros({group.size() * 3});
    group.all_gather(numbers(group.index(), 3), all).wait();
    for (int64_t rank = 0; rank < group.size(); ++rank)
      EXPECT_TRUE(all.narrow(0, 3 * rank, 3).equal(numbers(rank, 3)));
  });
}

TEST_P(Collectives, AllGatherTakesItsPartOfTheOutput) {
  on_all_ranks([](Group& group) {
    const at::Tensor all = at::zeros({group.size() * 3});
    const at::Tensor own = all.narrow(0, 3 * group.index(), 3);
    own.copy_(numbers(group.index(), 3));
    group.all_gather(own, all).wait();
    for (int64_t rank = 0; rank < group.size(); ++rank)
      EXPECT_TRUE(all.narrow(0, 3 * rank, 3).equal(numbers(rank, 3)));
  });
}

TEST_P(Collectives, ReduceScatterSumsEachRanksPart) {
  on_all_ranks([](Group& group) {
    const int64_t ranks = group.size();
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor sums = at::full({2}, 7.0F);
      group.reduce_scatter_sum(numbers(group.index(), 2 * ranks).to(dtype), sums).wait();
      at::Tensor expected = at::zeros({2});
      for (int64_t rank = 0; rank < ranks; ++rank)
        expected +=
            numbers(rank, 2 * ranks).to(dtype).to(at::kFloat).narrow(0, 2 * group.index(), 2);
      EXPECT_TRUE(sums.equal(expected)) << sums << expected;
    }
  });
}

TEST_P(Collectives, AllReduceSumsAnyNumberOfValues) {
  on_all_ranks([](Group& group) {
    const int64_t ranks = group.size();
    for (const int64_t count : {1, 4, 7}) {
      const at::Tensor values = numbers(group.index(), count);
      group.all_reduce_sum(values).wait();
      const at::Tensor expected =
          at::arange(count, at::kFloat) * ranks + static_cast<double>(50 * ranks * (ranks - 1));
      EXPECT_TRUE(values.equal(expected)) << values;
    }
  });
}

TEST_P(Collectives, AllToAllTransposesParts) {
  on_all_ranks([](Group& group) {
    const int64_t ranks = group.size();
    const at::Tensor received = at::zeros({2 * ranks});
    group.all_to_all(numbers(group.index(), 2 * ranks), received).wait();
    for (int64_t rank = 0; rank < ranks; ++rank) {
      EXPECT_TRUE(received.narrow(0, 2 * rank, 2)
                      .equal(numbers(rank, 2 * ranks).narrow(0, 2 * group.index(), 2)));
    }
  });
}

TEST_P(Collectives, BroadcastAndNumbers) {
  on_all_ranks([](Group& group) {
    const int64_t last = group.size() - 1;
    const at::Tensor values = numbers(group.index(), 3);
    group.broadcast(values, last);
    EXPECT_TRUE(values.equal(numbers(last, 3)));
    const auto gathered = group.all_gather_numbers({static_cast<double>(group.index()), 0.5});
    for (int64_t rank = 0; rank < group.size(); ++rank)
      EXPECT_EQ(gathered[static_cast<size_t>(rank)],
                (std::vector<double>{static_cast<double>(rank), 0.5}));
    group.barrier();
  });
}

TEST_P(Collectives, CountsWhatLeavesTheRank) {
  on_all_ranks([](Group& group) {
    const int64_t ranks = group.size();
    group.all_gather(at::zeros({5}), at::zeros({5 * ranks})).wait();
    EXPECT_EQ(group.traffic().num_bytes, 20 * (ranks - 1));
    EXPECT_EQ(group.traffic().num_calls, ranks > 1 ? 1 : 0);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, Collectives, testing::Values(1, 2, 4));

// A sum of four micro-batches has the same bits whether one, two or four ranks share them.
TEST(PairwiseSum, BitsDoNotDependOnTheNumberOfRanks) {
  const at::Tensor parts = at::randn({4, 1000});
  const auto sum_of = [](const at::Tensor& some) {
    const at::Tensor sum = at::empty({some.size(1)});
    pairwise_sum(some.clone(), sum);
    return sum;
  };
  const at::Tensor whole = sum_of(parts);
  const at::Tensor low = sum_of(parts.narrow(0, 0, 2));
  const at::Tensor high = sum_of(parts.narrow(0, 2, 2));
  EXPECT_TRUE(whole.equal(low + high));
  EXPECT_FALSE(whole.equal(parts[0] + parts[1] + parts[2] + parts[3])) << "the order must matter";
  EXPECT_TRUE(sum_of(parts.narrow(0, 0, 3)).equal(low + parts[2]));
  EXPECT_TRUE(sum_of(parts.narrow(0, 0, 1)).equal(parts[0]));
}

TEST(Group, AFailedCollectiveNamesOperationGroupAndRanks) {
  try {
    run_ranks({.shard = 2}, [](const Mesh& mesh) {
      if (mesh.rank == 1) return;  // leaves, and its sockets close
      mesh.world->barrier();
    });
    FAIL() << "must throw";
  } catch (const DistributedError& error) {
    EXPECT_NE(std::string(error.what()).find("barrier in group 'world.0' of ranks 0,1, rank 0"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace zoetrope
