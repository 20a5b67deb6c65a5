#include "zoetrope/tensor/safetensors.h"

#include <cstring>
#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace {

using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;

// A file with this header text and `data_bytes` zero bytes of data.
void write_raw(const std::filesystem::path& path, const std::string& header, size_t data_bytes,
               std::optional<uint64_t> claimed_length = std::nullopt) {
  const uint64_t length = claimed_length.value_or(header.size());
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(&length), sizeof(length));
  stream << header << std::string(data_bytes, '\0');
}

std::string message_of(const std::filesystem::path& path) {
  try {
    SafetensorsFile file(path);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Safetensors, WritesWhatItReadsForEveryType) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "all.safetensors";
  NamedTensors tensors;
  for (const auto dtype :
       {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble, at::kLong, at::kByte, at::kBool}) {
    tensors.emplace_back(c10::toString(dtype), at::arange(6).reshape({2, 3}).to(dtype));
  }
  tensors.emplace_back("scalar", at::scalar_tensor(2.5));
  tensors.emplace_back("empty", at::empty({0, 4}));
  tensors.emplace_back("transposed", at::arange(6, at::kFloat).reshape({2, 3}).t());
  write_safetensors(path, tensors, {{"format", "pt"}});
  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.entries().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor read = file.tensor(name);
    EXPECT_EQ(read.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(read, tensor)) << name;
  }
}

TEST(Safetensors, RefusesHeadersThatLie) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "bad.safetensors";
  const auto expect = [&](const std::string& header, size_t data_bytes, const std::string& words,
                          std::optional<uint64_t> claimed = std::nullopt) {
    write_raw(path, header, data_bytes, claimed);
    EXPECT_THAT(message_of(path), AllOf(HasSubstr(path.string()), HasSubstr(words)));
  };
  expect("{}", 0, "claims 1000 bytes", 1000);
  expect("{}", 0, "claims 18446744073709551615 bytes", ~uint64_t{0});
  expect("[1]", 0, "must be a JSON object");
  expect("{\"a\":", 0, "must be a JSON object");
  expect(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4, "the file is truncated");
  expect(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8,
         "needs 12 bytes, but the header gives 8");
  expect(R"({"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}})", 8, "has 'F99'");
  expect(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "non-negative integers");
  expect(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8,
         "too many elements");
  expect(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "must lie within");
  expect(R"({"a":{"dtype":"F32","shape":[2]}})", 8, "data_offsets");
  expect(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
      12, "must not overlap");
}

TEST(Safetensors, NamesWhatCannotBeOpened) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of(folder.path() / "none.safetensors"), HasSubstr("No such file"));
  EXPECT_THAT(message_of(folder.path()), HasSubstr("is a folder"));
  write_file_atomically(folder.path() / "short.safetensors", "abc");
  EXPECT_THAT(message_of(folder.path() / "short.safetensors"), HasSubstr("but has 3"));
}

TEST(Safetensors, ReadsTensorsThatAreNotAligned) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "odd.safetensors";
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  while (header.size() % 4 != 1) header += ' ';
  const uint64_t length = header.size();
  const float value = 1.5F;
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(&length), sizeof(length)) << header;
  stream.write(reinterpret_cast<const char*>(&value), sizeof(value));
  stream.close();
  EXPECT_EQ(SafetensorsFile(path).tensor("a").item<float>(), value);
}

TEST(WeightFolder, SplitsIntoShardsAndReadsThemBack) {
  const TemporaryFolder folder;
  NamedTensors tensors;
  for (int i = 0; i < 5; ++i)
    tensors.emplace_back("t" + std::to_string(i), at::full({10}, i, at::kFloat));
  write_weight_folder(folder.path(), "diffusion_pytorch_model", tensors, 90);
  EXPECT_TRUE(std::filesystem::exists(folder.path() /
                                      "diffusion_pytorch_model-00003-of-00003.safetensors"));
  const WeightFolder read(folder.path());
  for (const auto& [name, tensor] : tensors)
    EXPECT_TRUE(at::equal(read.tensor(name), tensor)) << name;
}

TEST(WeightFolder, ListsEveryMismatchAtOnce) {
  const TemporaryFolder folder;
  write_weight_folder(folder.path(), "model",
                      {{"a", at::zeros({2})}, {"b", at::zeros({3})}, {"extra", at::zeros({1})}});
  try {
    WeightFolder(folder.path()).load_strict({{"a", {2}}, {"b", {4}}, {"c", {5}}});
    FAIL() << "must throw";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("3 tensors do not"), HasSubstr("missing 'c' [5]"),
                                    HasSubstr("'b' must have shape [4], but has [3]"),
                                    HasSubstr("unexpected 'extra'")));
  }
  EXPECT_EQ(WeightFolder(folder.path()).load_strict({{"a", {2}}, {"b", {3}}}, {"extra"}).size(),
            2U);
}

TEST(WeightFolder, NamesMissingFolderAndMissingWeights) {
  const TemporaryFolder folder;
  EXPECT_THROW(WeightFolder(folder.path() / "none"), CheckpointError);
  EXPECT_THROW(WeightFolder{folder.path()}, CheckpointError);
}

}  // namespace
}  // namespace zoetrope
