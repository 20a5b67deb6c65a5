// The loader: order, workers, resuming, shapes, faults.
#include "zoetrope/data/loader.h"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "row_making.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

class Loader : public testing::Test {
 protected:
  void SetUp() override { test::write_t2v_folder(folder_.path(), 3, 4); }

  ParquetDataset open() const {
    return ParquetDataset({{folder_.path().string(), 1}}, parquet_schema("t2v"));
  }

  test::TemporaryFolder folder_;
};

std::vector<std::string> ids_of(const Batch& batch) {
  std::vector<std::string> ids;
  for (const SampleInfo& info : batch.info) ids.push_back(info.id);
  return ids;
}

void expect_same(const Batch& one, const Batch& other) {
  EXPECT_EQ(ids_of(one), ids_of(other));
  EXPECT_EQ(one.sample_indices, other.sample_indices);
  EXPECT_EQ(one.epoch, other.epoch);
  EXPECT_TRUE(at::equal(one.vae_latent_BCTHW, other.vae_latent_BCTHW));
  EXPECT_TRUE(at::equal(one.text_embedding_BLD, other.text_embedding_BLD));
  EXPECT_TRUE(at::equal(one.text_attention_mask_BL, other.text_attention_mask_BL));
}

SampleOrderOptions keyed(int64_t batch_size) {
  return {SampleOrderKind::kKeyed, 7, batch_size};
}

TEST_F(Loader, EveryEpochHasEveryRowOnceInAnotherOrder) {
  const ParquetDataset dataset = open();
  DataLoader loader(dataset, keyed(1), {});
  std::vector<std::vector<std::string>> epochs(3);
  for (int64_t i = 0; i < 36; ++i) {
    const Batch batch = loader.next();
    EXPECT_EQ(batch.epoch, i / 12);
    EXPECT_EQ(batch.sample_indices, std::vector<int64_t>{i});
    epochs[static_cast<size_t>(i / 12)].push_back(batch.info[0].id);
  }
  for (const auto& epoch : epochs) EXPECT_EQ(std::set(epoch.begin(), epoch.end()).size(), 12U);
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST_F(Loader, BatchesThatDoNotDivideTheDataLoseNothing) {
  const ParquetDataset dataset = open();
  DataLoader ones(dataset, keyed(1), {});
  DataLoader fives(dataset, keyed(5), {});
  for (int64_t step = 0; step < 12; ++step) {
    for (const std::string& id : ids_of(fives.next()))
      EXPECT_EQ(ids_of(ones.next()), std::vector{id});
  }
}

TEST_F(Loader, EverySampleTellsTheRowThatARowReaderFinds) {
  const ParquetDataset dataset = open();
  LoaderOptions options;
  options.text_dropout_rate = 1.0;
  DataLoader loader(dataset, keyed(5), options);
  const RowReader rows = loader.rows();
  EXPECT_EQ(rows.num_rows(), 12);
  for (int64_t step = 0; step < 3; ++step) {
    const Batch batch = loader.next();
    std::vector<int64_t> dataset_rows;
    for (const SampleInfo& info : batch.info) dataset_rows.push_back(info.dataset_row);
    const Batch same = rows.read(dataset_rows);
    EXPECT_EQ(ids_of(same), ids_of(batch));
    EXPECT_EQ(same.sample_indices, dataset_rows);
    EXPECT_TRUE(at::equal(same.vae_latent_BCTHW, batch.vae_latent_BCTHW));
    EXPECT_GT(same.text_embedding_BLD.abs().sum().item<double>(), 0.0);  // nothing is dropped
  }
}

TEST_F(Loader, GroupsTogetherReadTheSameGlobalBatch) {
  const ParquetDataset dataset = open();
  DataLoader alone(dataset, keyed(6), {});
  std::vector<std::unique_ptr<DataLoader>> groups;
  for (int64_t group = 0; group < 3; ++group) {
    groups.push_back(std::make_unique<DataLoader>(
        dataset, SampleOrderOptions{SampleOrderKind::kKeyed, 7, 2, 3, group}, LoaderOptions{}));
  }
  for (int64_t step = 0; step < 5; ++step) {
    const Batch whole = alone.next();
    std::map<int64_t, std::string> expected;
    std::map<int64_t, std::string> together;
    for (size_t i = 0; i < 6; ++i) expected[whole.sample_indices[i]] = whole.info[i].id;
    for (auto& group : groups) {
      const Batch part = group->next();
      for (size_t i = 0; i < 2; ++i) together[part.sample_indices[i]] = part.info[i].id;
    }
    EXPECT_EQ(together, expected);
  }
}

TEST_F(Loader, TheNumberOfWorkersChangesNothing) {
  const ParquetDataset dataset = open();
  LoaderOptions options;
  options.text_dropout_rate = 0.5;
  std::vector<std::unique_ptr<DataLoader>> loaders;
  for (const int64_t workers : {0, 1, 3, 8}) {
    options.num_workers = workers;
    loaders.push_back(std::make_unique<DataLoader>(dataset, keyed(5), options));
  }
  for (int64_t step = 0; step < 20; ++step) {
    const Batch expected = loaders[0]->next();
    for (size_t i = 1; i < loaders.size(); ++i) expect_same(loaders[i]->next(), expected);
  }
}

TEST_F(Loader, ContinuesWhereTheStateSays) {
  const ParquetDataset dataset = open();
  for (const SampleOrderKind kind : {SampleOrderKind::kKeyed, SampleOrderKind::kFastVideo}) {
    for (const int64_t stop : {0, 3, 7}) {
      const SampleOrderOptions order{kind, 3, 2};
      LoaderOptions options;
      options.text_dropout_rate = 0.4;
      DataLoader first(dataset, order, options);
      for (int64_t i = 0; i < stop; ++i) first.next();
      const std::string state = first.state_dict().dump();
      options.num_workers = 2;
      DataLoader second(dataset, order, options);
      second.next();  // a loader that has already run is put back, too
      second.load_state_dict(nlohmann::json::parse(state));
      for (int64_t i = 0; i < 9; ++i) expect_same(second.next(), first.next());
    }
  }
}

TEST_F(Loader, ResumesWithAnotherNumberOfGroups) {
  const ParquetDataset dataset = open();
  DataLoader alone(dataset, keyed(4), {});
  alone.next();
  DataLoader pair(dataset, {SampleOrderKind::kKeyed, 7, 2, 2, 1}, {});
  pair.load_state_dict(alone.state_dict());
  const Batch expected = alone.next();
  EXPECT_EQ(ids_of(pair.next()), (std::vector{expected.info[2].id, expected.info[3].id}));
}

TEST_F(Loader, RefusesAStateOfOtherData) {
  const ParquetDataset dataset = open();
  DataLoader loader(dataset, keyed(2), {});
  nlohmann::json state = loader.state_dict();
  state["num_rows"] = 13;
  EXPECT_THAT([&] { loader.load_state_dict(state); },
              ThrowsMessage<CheckpointError>(
                  AllOf(HasSubstr("'num_rows' must be 12"), HasSubstr("has 13"))));
  state = loader.state_dict();
  state["samples_taken"] = -1;
  EXPECT_THAT([&] { loader.load_state_dict(state); },
              ThrowsMessage<CheckpointError>(HasSubstr("samples_taken")));
}

TEST_F(Loader, PadsAndCutsText) {
  const ParquetDataset dataset = open();
  LoaderOptions options;
  options.text_length = 2;
  DataLoader loader(dataset, keyed(3), options);
  for (int64_t step = 0; step < 4; ++step) {
    const Batch batch = loader.next();
    ASSERT_EQ(batch.text_embedding_BLD.sizes(), (at::IntArrayRef{3, 2, 5}));
    for (int64_t i = 0; i < 3; ++i) {
      const int64_t number = std::stoll(batch.info[static_cast<size_t>(i)].id.substr(5));
      const int64_t length = std::min<int64_t>(2, 1 + number % 3);
      const double sum = static_cast<double>(length * 5 * (number + 1));
      EXPECT_EQ(batch.text_embedding_BLD[i].sum().item<double>(), sum);
      EXPECT_EQ(batch.text_attention_mask_BL[i].sum().item<double>(), static_cast<double>(length));
      EXPECT_EQ(batch.text_attention_mask_BL[i][0].item<double>(), 1.0);
    }
  }
}

TEST_F(Loader, DropsTheTextOfTheConfiguredShareAnewInEachEpoch) {
  const ParquetDataset dataset = open();
  LoaderOptions options;
  options.text_dropout_rate = 0.25;
  DataLoader loader(dataset, keyed(12), options);
  int64_t num_dropped = 0;
  std::vector<std::set<std::string>> dropped(200);
  for (auto& of_epoch : dropped) {
    const Batch batch = loader.next();
    for (int64_t i = 0; i < 12; ++i) {
      EXPECT_GT(batch.text_attention_mask_BL[i].sum().item<double>(), 0.0);
      if (batch.text_embedding_BLD[i].abs().sum().item<double>() > 0) continue;
      of_epoch.insert(batch.info[static_cast<size_t>(i)].id);
      ++num_dropped;
    }
  }
  EXPECT_NEAR(static_cast<double>(num_dropped) / 2400.0, 0.25, 0.04);  // 4.5 standard deviations
  EXPECT_NE(dropped[0], dropped[1]);
}

TEST_F(Loader, CountsRepeatedFolders) {
  const ParquetDataset dataset({{(folder_ / "worker_0/data_chunk_0.parquet").string(), 2},
                                {(folder_ / "worker_0/data_chunk_1.parquet").string(), 1},
                                {(folder_ / "worker_0/data_chunk_2.parquet").string(), 0}},
                               parquet_schema("t2v"));
  EXPECT_EQ(dataset.num_rows(), 12);
  std::map<std::string, int64_t> counts;
  for (int64_t row = 0; row < 12; ++row) ++counts[dataset.read(row).text("id")];
  EXPECT_EQ(counts.at("clip_0"), 2);
  EXPECT_EQ(counts.at("clip_4"), 1);
  EXPECT_FALSE(counts.contains("clip_8"));
}

TEST_F(Loader, ASmallCacheGivesTheSameRows) {
  const ParquetDataset large = open();
  const ParquetDataset small({{folder_.path().string(), 1}}, parquet_schema("t2v"), 1);
  LoaderOptions options;
  options.num_workers = 4;
  DataLoader from_large(large, keyed(3), options);
  DataLoader from_small(small, keyed(3), options);
  for (int64_t step = 0; step < 12; ++step) expect_same(from_small.next(), from_large.next());
}

TEST_F(Loader, NamesTheFolderWithoutData) {
  const ParquetSchema& schema = parquet_schema("t2v");
  EXPECT_THAT(
      [&] {
        ParquetDataset({{(folder_ / "absent").string(), 1}}, schema);
      },
      ThrowsMessage<DataError>(AllOf(HasSubstr("absent"), HasSubstr("does not exist"))));
  fs::create_directory(folder_ / "empty");
  EXPECT_THAT(
      [&] {
        ParquetDataset({{(folder_ / "empty").string(), 1}}, schema);
      },
      ThrowsMessage<DataError>(AllOf(HasSubstr("empty"), HasSubstr("zoetrope preprocess"))));
  write_parquet_file(folder_ / "empty/none.parquet", schema, {});
  EXPECT_THAT(
      [&] {
        ParquetDataset({{(folder_ / "empty").string(), 1}}, schema);
      },
      ThrowsMessage<DataError>(HasSubstr("at least one row")));
}

TEST_F(Loader, NamesTheSamplesOfDifferentShapes) {
  write_parquet_file(folder_ / "odd.parquet", parquet_schema("t2v"), {test::t2v_row(99, 2, 7)});
  const ParquetDataset dataset = open();
  DataLoader loader(dataset, keyed(13), {});
  EXPECT_THAT([&] { loader.next(); },
              ThrowsMessage<DataError>(AllOf(
                  HasSubstr("'vae_latent' must have one shape"), HasSubstr("'clip_99'"),
                  HasSubstr("odd.parquet"), HasSubstr("[4, 2, 2, 7]"), HasSubstr("[4, 2, 2, 3]"))));
}

TEST_F(Loader, NamesTheSampleWithTooFewFramesAndGoesOn) {
  write_parquet_file(folder_ / "short.parquet", parquet_schema("t2v"), {test::t2v_row(99, 1)});
  const ParquetDataset dataset = open();
  LoaderOptions options;
  options.num_latent_frames = 2;
  options.num_workers = 3;
  DataLoader loader(dataset, keyed(1), options);
  int64_t num_good = 0;
  int64_t num_faulty = 0;
  for (int64_t i = 0; i < 13; ++i) {
    try {
      EXPECT_NE(loader.next().info[0].id, "clip_99");
      ++num_good;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("'clip_99'"), HasSubstr("num_latent_t = 2"), HasSubstr("has 1")));
      ++num_faulty;
    }
  }
  EXPECT_EQ(num_good, 12);
  EXPECT_EQ(num_faulty, 1);
}

TEST_F(Loader, FastVideosOrderNeedsAWholeBatch) {
  const ParquetDataset dataset = open();
  EXPECT_THAT(
      [&] {
        DataLoader(dataset, {SampleOrderKind::kFastVideo, 0, 13}, {});
      },
      ThrowsMessage<DataError>(AllOf(HasSubstr("whole global batch"), HasSubstr("12 rows"))));
  EXPECT_THAT(
      [&] {
        DataLoader(dataset, {SampleOrderKind::kKeyed, 0, 0}, {});
      },
      ThrowsMessage<ConfigError>(HasSubstr("train_batch_size")));
}

TEST_F(Loader, StopsWhileBatchesWait) {
  const ParquetDataset dataset = open();
  LoaderOptions options;
  options.num_workers = 4;
  for (int64_t round = 0; round < 20; ++round) {
    DataLoader loader(dataset, keyed(2), options);
    if (round % 2 == 0) loader.next();
  }
}

}  // namespace
}  // namespace zoetrope
