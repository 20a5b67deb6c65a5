// Ranks meet in a store, as threads with sockets of their own: what they agree on, and what each
// says when one is missing, different, twice or failing.
#include "zoetrope/distributed/rendezvous.h"

#include <thread>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "support/error_text.h"
#include "support/loopback.h"
#include "zoetrope/distributed/message_board.h"
#include "zoetrope/distributed/rank_store.h"

namespace zoetrope {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

constexpr const char* kLoopback = "127.0.0.1";

/// What each rank's call throws as text; `no error` for those that throw none.
class RendezvousTest : public testing::Test {
 protected:
  using Body = std::function<void(Rendezvous&)>;

  RankEnvironment environment(int64_t rank, int64_t num_ranks) const {
    RankEnvironment environment;
    environment.rank = rank;
    environment.num_ranks = num_ranks;
    environment.local_rank = rank;
    environment.local_num_ranks = num_ranks;
    environment.master_address = kLoopback;
    environment.master_port = hosted_.port;
    environment.launcher_has_store = true;
    return environment;
  }

  /// Runs `body` on these ranks of `num_ranks`.
  std::vector<std::string> on_ranks(const std::vector<int64_t>& ranks, int64_t num_ranks,
                                    const Body& body) {
    std::vector<std::string> errors(ranks.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < ranks.size(); ++i) {
      threads.emplace_back([&, i] {
        at::set_num_threads(1);
        errors[i] = test::error_of([&] {
          Rendezvous rendezvous(environment(ranks[i], num_ranks), timeouts_);
          body(rendezvous);
        });
      });
    }
    for (std::thread& thread : threads) thread.join();
    return errors;
  }

  HostedStore hosted_ = host_store({kLoopback, 0});
  RendezvousTimeouts timeouts_{milliseconds(20000), milliseconds(20000)};
};

TEST_F(RendezvousTest, RanksOfOneRunFormTheirMesh) {
  const auto errors = on_ranks({0, 1, 2, 3}, 4, [](Rendezvous& rendezvous) {
    rendezvous.check_ranks({{"build", "a"}, {"training.data.seed", "1"}});
    for (int stage = 0; stage < 2; ++stage) {
      const Mesh mesh = rendezvous.form_mesh({.replicate = 2, .shard = 2});
      EXPECT_EQ(mesh.rank, rendezvous.environment().rank);
      EXPECT_EQ(mesh.local_rank, mesh.rank);
      const at::Tensor sum = at::full({1}, static_cast<double>(mesh.rank), at::kFloat);
      mesh.shard->all_reduce_sum(sum).wait();
      EXPECT_EQ(sum.item<double>(), mesh.place.replicate == 0 ? 1.0 : 5.0);
      EXPECT_TRUE(any_rank(*mesh.world, mesh.rank == 3));
      EXPECT_FALSE(any_rank(*mesh.world, false));
    }
  });
  EXPECT_THAT(errors, Each("no error"));
}

TEST_F(RendezvousTest, OneRankAloneNeedsNoConnection) {
  Rendezvous alone({}, {});
  alone.check_ranks({{"build", "a"}});
  EXPECT_EQ(alone.form_mesh({}).world->size(), 1);
  alone.report_failure("heard by nobody");
}

TEST_F(RendezvousTest, NamesTheRanksThatDoNotCome) {
  timeouts_.meeting = milliseconds(300);
  const auto errors =
      on_ranks({0, 2}, 4, [](Rendezvous& rendezvous) { rendezvous.check_ranks({}); });
  // One of the two runs out of time first, and the other one hears of it or finds the same.
  EXPECT_THAT(errors,
              Each(HasSubstr("ranks: all 4 must come within 0.3 s, but ranks 1,3 did not")));
}

TEST_F(RendezvousTest, NamesTheRanksThatDifferAndTheFirstKey) {
  const auto errors = on_ranks({0, 1, 2, 3}, 4, [](Rendezvous& rendezvous) {
    const bool differs = rendezvous.environment().rank >= 2;
    rendezvous.check_ranks(
        {{"build", "a"}, {"lr", differs ? "0.1" : "0.2"}, {"seed", differs ? "3" : "4"}});
  });
  EXPECT_THAT(errors, Each("ranks: must have the same build and config, but:\n"
                           "  ranks 2,3: lr is 0.1, but 0.2 on rank 0"));
}

TEST_F(RendezvousTest, NamesWhatOnlyOneRankHas) {
  const auto errors = on_ranks({0, 1, 2}, 3, [](Rendezvous& rendezvous) {
    Rendezvous::Facts facts = {{"build", "a"}};
    if (rendezvous.environment().rank != 2) facts.emplace_back("callbacks.ema.decay", "0.9");
    if (rendezvous.environment().rank == 1) facts.emplace_back("callbacks.ema.start_iter", "5");
    rendezvous.check_ranks(facts);
  });
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("rank 1: callbacks.ema.start_iter is 5, but absent"),
                                 HasSubstr("rank 2: callbacks.ema.decay is absent, but 0.9"))));
}

TEST_F(RendezvousTest, AFailureBeforeTheMeetingReachesThoseWhoWait) {
  const auto errors = on_ranks({0, 1, 2}, 3, [](Rendezvous& rendezvous) {
    if (rendezvous.environment().rank == 1) {
      rendezvous.report_failure("device: no GPU");
      fail("device: no GPU");
    }
    rendezvous.check_ranks({});
  });
  EXPECT_EQ(errors[0], "rank 1 failed: device: no GPU");
  EXPECT_EQ(errors[1], "device: no GPU");
  EXPECT_EQ(errors[2], "rank 1 failed: device: no GPU");
}

TEST_F(RendezvousTest, ARankMustComeOnce) {
  const auto errors =
      on_ranks({0, 1, 1}, 2, [](Rendezvous& rendezvous) { rendezvous.check_ranks({}); });
  EXPECT_THAT(errors, testing::Contains(HasSubstr("another process is rank 1, too; do two runs")));
}

TEST_F(RendezvousTest, TheMeshMustHaveTheRanksThatWereStarted) {
  const auto errors =
      on_ranks({0, 1}, 2, [](Rendezvous& rendezvous) { rendezvous.form_mesh({.shard = 4}); });
  EXPECT_THAT(errors, Each("mesh: must have as many ranks as were started, 2, but has 4"));
}

TEST_F(RendezvousTest, AHangingRankIsNamedWithTheOperation) {
  timeouts_.collective = milliseconds(1000);
  const auto errors = on_ranks({0, 1, 2}, 3, [](Rendezvous& rendezvous) {
    const Mesh mesh = rendezvous.form_mesh({.shard = 3});
    mesh.world->barrier();
    if (mesh.rank == 1) {
      std::this_thread::sleep_for(milliseconds(6000));
      return;
    }
    at::Tensor values = at::zeros({3});
    mesh.shard->all_reduce_sum(values).wait();
  });
  EXPECT_EQ(errors[1], "no error");
  EXPECT_THAT(errors[0],
              AllOf(HasSubstr("all_to_all in group 'shard.0' of ranks 0,1,2, rank 0, call 1: must "
                              "end on every rank, but after 1.0 s rank 1 has not come")));
  EXPECT_THAT(errors[2], HasSubstr("rank 1 has not come"));
}

TEST_F(RendezvousTest, ADifferentOperationIsNamed) {
  timeouts_.collective = milliseconds(1000);
  const auto errors = on_ranks({0, 1}, 2, [](Rendezvous& rendezvous) {
    const Mesh mesh = rendezvous.form_mesh({.shard = 2});
    if (mesh.rank == 1) mesh.world->barrier();
    at::Tensor all = at::zeros({4});
    mesh.world->all_gather(at::zeros({2}), all).wait();
  });
  EXPECT_THAT(errors[0], HasSubstr("all_gather in group 'world.0' of ranks 0,1, rank 0, call 1: "
                                   "must end on every rank, but rank 1 waits in barrier, call 1"));
  EXPECT_THAT(errors[1], HasSubstr("rank 0 waits in all_gather, call 1"));
}

TEST_F(RendezvousTest, AFailureDuringACollectiveComesWithItsMessage) {
  const auto errors = on_ranks({0, 1}, 2, [](Rendezvous& rendezvous) {
    try {
      const Mesh mesh = rendezvous.form_mesh({.shard = 2});
      if (mesh.rank == 1) fail("sample 'x' is damaged");
      mesh.world->barrier();
    } catch (const std::exception& error) {
      rendezvous.report_failure(error.what());
      throw;
    }
  });
  EXPECT_THAT(errors[0], AllOf(HasSubstr("barrier in group 'world.0'"),
                               HasSubstr("but rank 1 failed: sample 'x' is damaged")));
}

TEST_F(RendezvousTest, AFailureReachesThoseWhoWaitForAMessage) {
  const auto errors = on_ranks({0, 1}, 2, [](Rendezvous& rendezvous) {
    const auto board = rendezvous.make_message_board();
    if (rendezvous.environment().rank == 1) return rendezvous.report_failure("disk full");
    board->read("written");
  });
  EXPECT_EQ(errors[0], "rank 1 failed: disk full");
}

TEST_F(RendezvousTest, AStoreThatEndsIsSaid) {
  std::thread ending([&] {
    std::this_thread::sleep_for(milliseconds(300));
    hosted_.store.reset();
  });
  const auto errors = on_ranks({1}, 2, [](Rendezvous& rendezvous) { rendezvous.check_ranks({}); });
  ending.join();
  EXPECT_THAT(errors[0], HasSubstr("the store must answer, but does not: the launcher has ended"));
}

// ---- The store's address.

TEST(RankStore, APortInUseIsRefused) {
  const test::SilentListener other;
  EXPECT_EQ(test::error_of([&] {
              host_store({kLoopback, other.port()});
            }),
            fmt::format("rendezvous at 127.0.0.1:{}: must be free to listen at, but got: Address "
                        "already in use; another program, perhaps another run, listens there; "
                        "choose another port (MASTER_PORT, or --rdzv-endpoint of zoetrope launch)",
                        other.port()));
}

TEST(RankStore, OnlyOwnAddressesCanBeServed) {
  EXPECT_THAT(test::error_of([] {
                host_store({"192.0.2.1", 0});
              }),
              HasSubstr("must be one of the machine that rank 0 runs on"));
  EXPECT_THAT(test::error_of([] {
                host_store({"no.such.host.invalid", 1});
              }),
              HasSubstr("rendezvous at no.such.host.invalid:1: must be free to listen at, but"));
}

TEST(RankStore, NothingThereIsSaid) {
  const int port = test::free_port();
  EXPECT_THAT(
      test::error_of([&] {
        connect_store({kLoopback, port}, milliseconds(200));
      }),
      HasSubstr("must be there within 0.2 s, but it cannot be reached: Connection refused"));
}

TEST(RankStore, AnotherProgramOnThePortIsSaid) {
  const test::SilentListener silent;
  EXPECT_THAT(test::error_of([&] {
                connect_store({kLoopback, silent.port()}, milliseconds(200));
              }),
              HasSubstr("must listen there, but it does not answer as one: another program uses "
                        "the port"));
  httplib::Server server;
  const int port = server.bind_to_any_port(kLoopback);
  std::thread serving([&] { server.listen_after_bind(); });
  EXPECT_THAT(test::error_of([&] {
                connect_store({kLoopback, port}, milliseconds(200));
              }),
              HasSubstr("another program uses the port"));
  server.stop();
  serving.join();
}

TEST(RankStore, ListensAtItsAddressOnly) {
  const HostedStore hosted = host_store({kLoopback, 0});
  hosted.store->set("key", "value");
  const auto other = connect_store({kLoopback, hosted.port}, milliseconds(1000));
  EXPECT_EQ(other->get_to_str("key"), "value");
  // Another loopback address of the same machine.
  EXPECT_THAT(test::error_of([&] {
                connect_store({"127.0.0.2", hosted.port}, milliseconds(100));
              }),
              HasSubstr("Connection refused"));
}

TEST(RankStore, TheWayToALoopbackAddressIsLoopback) {
  EXPECT_EQ(local_address_towards({kLoopback, 1}), kLoopback);
  EXPECT_EQ(local_address_towards({"localhost", 1}), kLoopback);
}

}  // namespace
}  // namespace zoetrope
