// FastVideo's recorded loader: the same rows in the same order with the same tensors, for every
// recorded data set.
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "zoetrope/data/loader.h"
#include "zoetrope/data/text_dropout.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

/// What the key of a recorded set says, such as `t2v.bs2.cfg0.3.pad512`.
struct RecordedSet {
  std::string data;
  int64_t batch_size = 0;
  double text_dropout_rate = 0.0;
  int64_t text_length = 0;
};

RecordedSet parse_key(const std::string& key) {
  RecordedSet set;
  const size_t batch = key.find(".bs");
  const size_t rate = key.find(".cfg");
  const size_t pad = key.find(".pad");
  set.data = key.substr(0, batch);
  set.batch_size = std::stoll(key.substr(batch + 3));
  set.text_dropout_rate = std::stod(key.substr(rate + 4, pad - rate - 4));
  set.text_length = std::stoll(key.substr(pad + 4));
  return set;
}

/// The schema of ours whose columns are the recorded ones.
const ParquetSchema* find_schema(const nlohmann::json& recorded) {
  std::set<std::string> names;
  for (const auto& [name, type] : recorded.items()) names.insert(name);
  for (const ParquetSchema& schema : parquet_schemas()) {
    std::set<std::string> ours;
    for (const PlainColumn& column : schema.plain) ours.insert(column.name);
    for (const TensorColumn& column : schema.tensors) {
      for (const char* part : {"_bytes", "_shape", "_dtype"}) ours.insert(column.name + part);
    }
    if (ours == names) return &schema;
  }
  return nullptr;
}

std::vector<int64_t> order_of(int64_t num_rows, int64_t batch_size, int64_t seed) {
  SampleOrder order(num_rows, {SampleOrderKind::kFastVideo, seed, batch_size});
  std::vector<int64_t> rows;
  for (int64_t start = 0; start < order.samples_per_epoch(); start += batch_size) {
    for (const SampleSlot& slot : order.batch_at(start)) rows.push_back(slot.row);
  }
  return rows;
}

int64_t total(const nlohmann::json& lengths) {
  int64_t sum = 0;
  for (const int64_t length : lengths) sum += length;
  return sum;
}

/// The traces do not name the seed: it is the one whose permutations are the recorded ones in every
/// set.
std::optional<int64_t> find_seed(const nlohmann::json& trace) {
  if (trace.contains("seed")) return trace["seed"].get<int64_t>();
  for (int64_t seed = 0; seed < 100000; ++seed) {
    bool fits = true;
    for (const auto& [key, set] : trace["sets"].items()) {
      fits = fits && order_of(total(set["lengths"]), parse_key(key).batch_size, seed) ==
                         set["sampler_order"].get<std::vector<int64_t>>();
      if (!fits) break;
    }
    if (fits) return seed;
  }
  return std::nullopt;
}

at::Tensor batch_tensor(const Batch& batch, const std::string& name) {
  if (name == "vae_latent") return batch.vae_latent_BCTHW;
  if (name == "text_embedding") return batch.text_embedding_BLD;
  if (name == "text_attention_mask") return batch.text_attention_mask_BL;
  const auto found = batch.others.find(name);
  return found == batch.others.end() ? at::Tensor() : found->second;
}

void expect_sums(const at::Tensor& tensor, const nlohmann::json& recorded,
                 const std::string& where) {
  SCOPED_TRACE(where);
  if (recorded["shape"] == nlohmann::json::array({recorded["shape"][0], 0})) {
    EXPECT_FALSE(tensor.defined()) << "the reference has an empty tensor";
    return;
  }
  ASSERT_TRUE(tensor.defined());
  EXPECT_EQ(tensor.sizes().vec(), recorded["shape"].get<std::vector<int64_t>>());
  const at::Tensor wide = tensor.to(at::kDouble);
  // Recorded with ten digits.
  const double scale = std::max(1.0, recorded["abssum"].get<double>());
  EXPECT_NEAR(wide.sum().item<double>(), recorded["sum"].get<double>(), 1e-9 * scale);
  EXPECT_NEAR(wide.abs().sum().item<double>(), recorded["abssum"].get<double>(), 1e-9 * scale);
  EXPECT_NEAR(wide.square().sum().item<double>(), recorded["sq"].get<double>(), 1e-9 * scale);
}

void expect_batch(const Batch& batch, const nlohmann::json& recorded, const std::string& where) {
  std::vector<std::string> ids;
  std::vector<std::string> captions;
  for (const SampleInfo& info : batch.info) {
    ids.push_back(info.id);
    captions.push_back(info.caption);
  }
  EXPECT_EQ(ids, recorded["ids"].get<std::vector<std::string>>()) << where;
  EXPECT_EQ(captions, recorded["captions"].get<std::vector<std::string>>()) << where;
  for (const auto& [name, sums] : recorded["tensors"].items()) {
    expect_sums(batch_tensor(batch, name), sums, where + " " + name);
  }
}

/// The recorded first batch, bit by bit; text is recorded without most of its padding.
void expect_first_batch(const Batch& batch, const test::GoldenCase& golden,
                        const std::string& key) {
  const std::string prefix = key + ".b0.";
  int64_t num_compared = 0;
  for (const std::string& name : golden.keys()) {
    if (!name.starts_with(prefix)) continue;
    SCOPED_TRACE(name);
    const at::Tensor expected = golden.tensor(name);
    at::Tensor actual = batch_tensor(batch, name.substr(prefix.size()));
    ASSERT_TRUE(actual.defined());
    if (name.find(".text_") != std::string::npos && actual.size(1) > expected.size(1)) {
      const int64_t rest = actual.size(1) - expected.size(1);
      EXPECT_EQ(actual.narrow(1, expected.size(1), rest).abs().sum().item<double>(), 0.0);
      actual = actual.narrow(1, 0, expected.size(1));
    }
    EXPECT_TRUE(at::equal(actual, expected));
    ++num_compared;
  }
  EXPECT_GT(num_compared, 0) << key;
}

std::vector<fs::path> loader_cases() {
  return test::golden_folders_where(test::golden_root(), [](const test::GoldenCase& golden) {
    return golden.json().contains("sets") && golden.json()["sets"].is_object();
  });
}

class LoaderReplay : public testing::TestWithParam<fs::path> {};

TEST_P(LoaderReplay, GivesFastVideosBatches) {
  const test::GoldenCase golden(GetParam());
  const std::optional<int64_t> seed = find_seed(golden.json());
  ASSERT_TRUE(seed.has_value()) << "no seed gives the recorded orders";
  for (const auto& [key, recorded] : golden.json()["sets"].items()) {
    SCOPED_TRACE(key);
    const RecordedSet set = parse_key(key);
    const ParquetSchema* schema = find_schema(recorded["schema"]);
    ASSERT_NE(schema, nullptr);
    const ParquetDataset dataset({{(test::golden_root() / "_data" / set.data).string(), 1}},
                                 *schema);
    EXPECT_EQ(dataset.lengths(), recorded["lengths"].get<std::vector<int64_t>>());
    for (size_t file = 0; file < dataset.files().size(); ++file) {
      EXPECT_EQ(dataset.files()[file],
                fs::canonical(test::golden_root() / recorded["files"][file].get<std::string>()));
    }
    EXPECT_EQ(order_of(dataset.num_rows(), set.batch_size, *seed),
              recorded["sampler_order"].get<std::vector<int64_t>>());

    LoaderOptions options;
    options.num_workers = 2;
    options.text_length = set.text_length;
    options.text_dropout_rate = set.text_dropout_rate;
    DataLoader loader(dataset, {SampleOrderKind::kFastVideo, *seed, set.batch_size}, options);
    const int64_t num_epochs = recorded.value("epoch1_same_as_epoch0", false) ? 2 : 1;
    for (int64_t epoch = 0; epoch < num_epochs; ++epoch) {
      for (size_t i = 0; i < recorded["epoch0"].size(); ++i) {
        const Batch batch = loader.next();
        EXPECT_EQ(batch.epoch, epoch);
        expect_batch(batch, recorded["epoch0"][i], fmt::format("epoch {} batch {}", epoch, i));
        if (epoch == 0 && i == 0) expect_first_batch(batch, golden, key);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, LoaderReplay, testing::ValuesIn(loader_cases()),
                         test::golden_test_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LoaderReplay);

/// c11's lists of batches for several numbers of groups, and of text dropout decisions.
std::vector<fs::path> sampler_cases() {
  return test::golden_folders_where(test::golden_root(), [](const test::GoldenCase& golden) {
    return golden.json().contains("batch_sampler") && golden.json().contains("cfg_dropout");
  });
}

class SamplerReplay : public testing::TestWithParam<fs::path> {};

TEST_P(SamplerReplay, GivesFastVideosBatchesOfEachGroup) {
  const test::GoldenCase golden(GetParam());
  for (const auto& recorded : golden.json()["batch_sampler"]) {
    SCOPED_TRACE(recorded.dump());
    SampleOrderOptions options{SampleOrderKind::kFastVideo};
    options.seed = recorded["seed"];
    options.batch_size = recorded["batch_size"];
    options.num_groups = recorded["num_sp_groups"];
    options.group_index =
        recorded["global_rank"].get<int64_t>() / recorded["sp_world_size"].get<int64_t>();
    options.drop_last = recorded["drop_last"];
    SampleOrder order(recorded["dataset_size"], options);
    std::vector<std::vector<int64_t>> batches;
    for (int64_t start = 0; start < order.samples_per_epoch(); start += order.global_batch_size()) {
      std::vector<int64_t>& rows = batches.emplace_back();
      for (const SampleSlot& slot : order.batch_at(start)) rows.push_back(slot.row);
    }
    EXPECT_EQ(batches, recorded["batches"].get<std::vector<std::vector<int64_t>>>());
  }
}

TEST_P(SamplerReplay, DropsTheTextsThatFastVideoDrops) {
  const test::GoldenCase golden(GetParam());
  const nlohmann::json& recorded = golden.json()["cfg_dropout"];
  const auto dropped = recorded["dropped_by_sample_index"].get<std::vector<bool>>();
  const auto numbers = recorded["u"].get<std::vector<double>>();
  for (int64_t row = 0; row < std::ssize(dropped); ++row) {
    EXPECT_EQ(
        drops_text({row, 0, row}, SampleOrderKind::kFastVideo, recorded["seed"], recorded["rate"]),
        dropped[static_cast<size_t>(row)])
        << row;
  }
  for (int64_t row = 0; row < std::ssize(numbers); ++row) {
    EXPECT_EQ(python_random(recorded["seed"].get<int64_t>() ^ row),
              numbers[static_cast<size_t>(row)]);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, SamplerReplay, testing::ValuesIn(sampler_cases()),
                         test::golden_test_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SamplerReplay);

}  // namespace
}  // namespace zoetrope
