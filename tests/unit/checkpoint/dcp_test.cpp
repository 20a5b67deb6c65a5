#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/file_size_limit.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/checkpoint/dcp/dcp_folder.h"
#include "zoetrope/checkpoint/dcp/dcp_writer.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

DcpItem item(const std::string& key, std::variant<at::Tensor, PickleValue> value) {
  return {key, {key}, std::move(value), {}, {}};
}

DcpItem part(const std::string& key, const at::Tensor& tensor, std::vector<int64_t> global_shape,
             std::vector<int64_t> offsets) {
  return {key, {key}, tensor, std::move(global_shape), std::move(offsets)};
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// One call of write_dcp_file a rank, then the metadata.
std::vector<DcpFileIndex> write(const fs::path& folder,
                                const std::vector<std::vector<DcpItem>>& ranks) {
  std::vector<DcpFileIndex> indices;
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    indices.push_back(write_dcp_file(folder, static_cast<int64_t>(rank), ranks[rank]));
  write_dcp_metadata(folder, indices);
  return indices;
}

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Dcp, ReadsWhatItWrites) {
  const test::TemporaryFolder folder;
  const at::Tensor turned = at::arange(6, at::kFloat).reshape({2, 3}).t();
  const DcpItem nested{
      "optim.groups.0.lr", {"optim", "groups", 0, "lr"}, PickleValue::real(1e-3), {}, {}};
  const auto indices = write(folder.path(), {{item("weight", turned), nested,
                                              item("step", at::scalar_tensor(7, at::kLong)),
                                              item("none", at::empty({0, 3}, at::kBFloat16))}});
  const DcpFolder read(folder.path());
  EXPECT_EQ(read.entries().size(), 4U);
  EXPECT_TRUE(at::equal(read.read_tensor("weight"), turned));
  EXPECT_TRUE(at::equal(read.read_tensor("step"), at::scalar_tensor(7, at::kLong)));
  EXPECT_EQ(read.read_tensor("none").sizes(), (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(read.entry("none").dtype, at::kBFloat16);
  EXPECT_EQ(read.read_value("optim.groups.0.lr"), PickleValue::real(1e-3));
  EXPECT_EQ(read.entry("optim.groups.0.lr").path, nested.path);
  EXPECT_EQ(indices[0].num_bytes, fs::file_size(folder / "__0_0.distcp"));
  EXPECT_EQ(indices[0].checksum, file_checksum(folder / "__0_0.distcp"));
}

TEST(Dcp, TensorsAreAlignedViews) {
  const test::TemporaryFolder folder;
  write(folder.path(), {{item("a", PickleValue::integer(1)), item("b", at::ones({3}, at::kByte)),
                         item("c", at::ones({5}, at::kDouble))}});
  const DcpFolder read(folder.path());
  const at::Tensor tensor = read.read_tensor("c");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0U);
  EXPECT_EQ(tensor.data_ptr(), read.read_tensor("c").data_ptr());
}

TEST(Dcp, PutsPartsOfSeveralRanksTogether) {
  const test::TemporaryFolder folder;
  const at::Tensor whole = at::arange(35, at::kFloat).reshape({5, 7});
  write(folder.path(), {{part("w", whole.narrow(0, 0, 3), {5, 7}, {0, 0})},
                        {part("w", whole.narrow(0, 3, 2).narrow(1, 0, 4), {5, 7}, {3, 0})},
                        {part("w", whole.narrow(0, 3, 2).narrow(1, 4, 3), {5, 7}, {3, 4})},
                        {part("w", whole.narrow(0, 5, 0), {5, 7}, {5, 0})}});
  const DcpFolder read(folder.path());
  EXPECT_TRUE(at::equal(read.read_tensor("w"), whole));
  const at::Tensor destination = at::zeros({7, 5}).t();
  read.read_into("w", destination);
  EXPECT_TRUE(at::equal(destination, whole));
}

TEST(Dcp, ReadIntoWantsTheSameShapeAndType) {
  const test::TemporaryFolder folder;
  write(folder.path(), {{item("w", at::ones({2, 3}))}});
  const DcpFolder read(folder.path());
  EXPECT_EQ(error_of([&] {
              read.read_into("w", at::zeros({3, 2}));
            }),
            folder.path().string() + ": 'w' must be fp32 [3, 2], but is fp32 [2, 3]");
  EXPECT_THAT(error_of([&] {
                read.read_into("w", at::zeros({2, 3}, at::kHalf));
              }),
              HasSubstr("must be fp16 [2, 3], but is fp32 [2, 3]"));
}

TEST(Dcp, MissingKeysAreNamedWithTheNearest) {
  const test::TemporaryFolder folder;
  write(folder.path(), {{item("weight", at::ones({2})), item("step", PickleValue::integer(1))}});
  const DcpFolder read(folder.path());
  EXPECT_THAT(error_of([&] { read.read_tensor("wieght"); }),
              HasSubstr("must hold 'wieght', but does not; did you mean 'weight'?"));
  EXPECT_THAT(error_of([&] { read.read_tensor("step"); }), HasSubstr("but is another value"));
  EXPECT_THAT(error_of([&] { read.read_value("weight"); }), HasSubstr("but is a tensor"));
}

TEST(DcpWriter, RefusesPartsThatDoNotFit) {
  const test::TemporaryFolder folder;
  const at::Tensor rows = at::ones({2, 3});
  const auto error = [&](const std::vector<DcpItem>& first, const std::vector<DcpItem>& second) {
    return error_of([&] { write(folder.path(), {first, second}); });
  };
  EXPECT_THAT(error({part("w", rows, {5, 3}, {0, 0})}, {part("w", rows, {5, 3}, {2, 0})}),
              HasSubstr("chunks must cover the 15 elements of [5, 3], but have 12"));
  EXPECT_THAT(error({part("w", rows, {3, 3}, {0, 0})}, {part("w", rows, {3, 3}, {1, 0})}),
              HasSubstr("must not overlap, but [2, 3] at [0, 0] and [2, 3] at [1, 0] do"));
  EXPECT_THAT(error({part("w", rows, {3, 3}, {2, 0})}, {}), HasSubstr("must lie within"));
  EXPECT_THAT(error({item("w", rows)}, {item("w", PickleValue())}),
              HasSubstr("'w' must be one value"));
  EXPECT_THAT(error({item("w", rows)}, {item("w", rows)}), HasSubstr("must not overlap"));
  EXPECT_THAT(error({{"w", {"v"}, rows, {}, {}}}, {}), HasSubstr("its path joined by dots"));
  EXPECT_FALSE(fs::exists(folder / ".metadata"));
}

TEST(DcpWriter, FullDiskNamesPathAndCause) {
  const test::TemporaryFolder folder;
  const test::FileSizeLimit limit(1'000'000);
  const std::string error =
      error_of([&] { write(folder.path(), {{item("w", at::ones({1'000'000}))}}); });
  EXPECT_THAT(error, HasSubstr((folder / "__0_0.distcp").string()));
  EXPECT_THAT(error, HasSubstr("File too large"));
}

TEST(DcpFolder, NamesMissingFiles) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { DcpFolder read(folder.path()); }),
              HasSubstr((folder / ".metadata").string() + ": must be a readable file"));
  write(folder.path(), {{item("w", at::ones({2}))}});
  fs::remove(folder / "__0_0.distcp");
  EXPECT_THAT(error_of([&] { DcpFolder read(folder.path()); }),
              HasSubstr((folder / "__0_0.distcp").string() + ": must be a readable file"));
}

TEST(DcpFolder, NamesDataFilesThatDoNotFitTheMetadata) {
  const test::TemporaryFolder folder;
  const test::TemporaryFolder other;
  write(folder.path(), {{item("w", at::ones({2, 3}))}});
  write(other.path(), {{item("w", at::ones({3, 2}))}});
  fs::copy_file(other / "__0_0.distcp", folder / "__0_0.distcp",
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(
      error_of([&] { DcpFolder(folder.path()).read_tensor("w"); }),
      HasSubstr("__0_0.distcp: 'w': must be fp32 [2, 3] as .metadata says, but is fp32 [3, 2]"));
}

TEST(DcpFolder, DataFileTruncatedAnywhere) {
  const test::TemporaryFolder folder;
  write(folder.path(), {{item("w", at::ones({20, 3})), item("v", PickleValue::integer(1))}});
  const uint64_t whole = fs::file_size(folder / "__0_0.distcp");
  for (uint64_t size = 0; size < whole; size += 7) {
    fs::resize_file(folder / "__0_0.distcp", size);
    EXPECT_THAT(error_of([&] {
                  const DcpFolder read(folder.path());
                  read.read_value("v");
                  read.read_tensor("w");
                }),
                HasSubstr("it is truncated or damaged"))
        << size;
    fs::resize_file(folder / "__0_0.distcp", whole);
  }
}

TEST(DcpFolder, MetadataTruncatedAnywhere) {
  const test::TemporaryFolder folder;
  write(folder.path(), {{part("w", at::ones({2, 3}), {4, 3}, {0, 0}), item("v", PickleValue())},
                        {part("w", at::ones({2, 3}), {4, 3}, {2, 0})}});
  const std::string bytes = read_file(folder / ".metadata");
  for (size_t size = 0; size < bytes.size(); size += 3) {
    write_bytes(folder / ".metadata", bytes.substr(0, size));
    ASSERT_THAT(error_of([&] { DcpFolder read(folder.path()); }), HasSubstr(".metadata: pickle"))
        << size;
  }
}

TEST(DcpFolder, DataFileOutsideTheFolder) {
  const test::TemporaryFolder folder;
  write(folder.path(), {{item("w", at::ones({2}))}});
  std::string bytes = read_file(folder / ".metadata");
  const std::string name = "__0_0.distcp";
  bytes.replace(bytes.find(name), name.size(), "../../passwd");
  write_file_atomically(folder / ".metadata", bytes);
  EXPECT_THAT(error_of([&] { DcpFolder read(folder.path()); }),
              HasSubstr("a data file must lie in the folder itself, but is '../../passwd'"));
}

}  // namespace
}  // namespace zoetrope
