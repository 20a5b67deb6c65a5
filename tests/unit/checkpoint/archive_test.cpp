#include <fstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/file_size_limit.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "unit/checkpoint/pickle_described.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/checkpoint/torch_archive/torch_archive.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// uint16, uint32 and uint64 come as signed numbers of the same bits in the expected files.
at::Tensor same_bits(const at::Tensor& tensor, at::ScalarType dtype) {
  return tensor.scalar_type() == dtype ? tensor : tensor.view(dtype);
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

template <class Value>
fs::path save(const test::TemporaryFolder& folder, const Value& value) {
  fs::path path = folder / "value.pt";
  OutputFile out(path);
  write_torch_archive(out, value);
  out.finish();
  return path;
}

// The files were written by torch.save (tools/reference/make_dcp_golden.py).
TEST(TorchArchive, ReadsWhatTorchSaveWrites) {
  const fs::path folder = test::checkpoint_golden() / "archives";
  const SafetensorsFile expected(folder / "expected.safetensors");
  size_t num_read = 0;
  for (const auto& file : fs::directory_iterator(folder)) {
    if (file.path().extension() != ".pt") continue;
    const TorchArchive archive(file.path());
    for (const auto& [key, object] : archive.value().as_entries()) {
      const at::Tensor tensor = archive.tensor(object);
      const at::Tensor wanted =
          expected.tensor(file.path().stem().string() + "/" + key.as_string());
      EXPECT_TRUE(at::equal(same_bits(tensor.contiguous(), wanted.scalar_type()), wanted))
          << file.path() << " " << key.as_string();
      ++num_read;
    }
  }
  EXPECT_EQ(num_read, expected.entries().size());
}

TEST(TorchArchive, TensorsAreViewsThatOutliveTheArchive) {
  const test::TemporaryFolder folder;
  const at::Tensor saved = at::arange(1000, at::kFloat).reshape({10, 100});
  const fs::path path = save(folder, saved);
  at::Tensor tensor;
  {
    const TorchArchive archive(path);
    tensor = archive.tensor();
    EXPECT_EQ(tensor.data_ptr(), archive.tensor().data_ptr());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0U);
  }
  EXPECT_TRUE(at::equal(tensor, saved));
}

TEST(TorchArchive, ChangingATensorLeavesTheFileAlone) {
  const test::TemporaryFolder folder;
  const fs::path path = save(folder, at::ones({8}));
  TorchArchive(path).tensor().fill_(5.0);
  EXPECT_TRUE(at::equal(TorchArchive(path).tensor(), at::ones({8})));
}

TEST(TorchArchive, KeepsEveryTypeAndStride) {
  const test::TemporaryFolder folder;
  for (const at::ScalarType dtype :
       {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort,
        at::kChar, at::kByte, at::kBool, at::kUInt16, at::kUInt32, at::kUInt64}) {
    const at::Tensor saved = at::arange(24, at::kInt).remainder(2).to(dtype).reshape({2, 3, 4});
    const at::Tensor tensor = TorchArchive(save(folder, saved.transpose(0, 2))).tensor();
    EXPECT_EQ(tensor.scalar_type(), dtype);
    EXPECT_TRUE(tensor.is_contiguous());
    EXPECT_TRUE(at::equal(tensor.to(at::kInt), saved.transpose(0, 2).to(at::kInt))) << dtype;
  }
}

TEST(TorchArchive, KeepsValues) {
  const test::TemporaryFolder folder;
  const PickleValue value = PickleValue::tuple(
      {PickleValue::real(0.9), PickleValue(), PickleValue::bytes(std::string("\x00\xff\x80", 3))});
  EXPECT_EQ(TorchArchive(save(folder, value)).value(), value);
}

TEST(TorchArchive, KeepsADictOfTensors) {
  const test::TemporaryFolder folder;
  const NamedTensors saved = {{"b", at::arange(6, at::kBFloat16).reshape({2, 3})},
                              {"a", at::arange(4, at::kLong)},
                              {"rows", at::arange(12, at::kFloat).reshape({3, 4}).t()},
                              {"none", at::empty({0, 3})}};
  const TorchArchive archive(save(folder, saved));
  ASSERT_EQ(archive.value().as_entries().size(), saved.size());
  for (size_t i = 0; i < saved.size(); ++i) {
    const auto& [key, object] = archive.value().as_entries()[i];
    EXPECT_EQ(key.as_string(), saved[i].first);
    EXPECT_EQ(archive.tensor(object).scalar_type(), saved[i].second.scalar_type());
    EXPECT_TRUE(at::equal(archive.tensor(object), saved[i].second)) << saved[i].first;
  }
}

TEST(TorchArchive, RefusesAPlainValueAsTensor) {
  const test::TemporaryFolder folder;
  const fs::path path = save(folder, PickleValue::integer(3));
  try {
    TorchArchive(path).tensor();
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_EQ(error.what(),
              path.string() + ": the pickled value must be an object, but is the int 3");
  }
}

// Replaces one text by another of the same length; the directory stays as it is.
fs::path tampered(const test::TemporaryFolder& folder, const std::string& from,
                  const std::string& to) {
  fs::path path = save(folder, at::arange(6, at::kFloat).reshape({2, 3}));
  std::string bytes = read_file(path);
  const size_t place = bytes.find(from);
  EXPECT_NE(place, std::string::npos);
  write_bytes(path, bytes.replace(place, to.size(), to));
  return path;
}

std::string tensor_error(const fs::path& path) {
  try {
    const TorchArchive archive(path);
    archive.tensor();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no error";
}

TEST(TorchArchiveHostile, ViewsBeyondTheMemory) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(tensor_error(tampered(folder, "K\x02K\x03\x86", "K\x02K\x04\x86")),
              HasSubstr("must lie within its memory of 24 bytes, but needs 28"));
  EXPECT_THAT(tensor_error(tampered(folder, "K\x03K\x01\x86", "K\xffK\x01\x86")),
              HasSubstr("must lie within its memory"));
  EXPECT_THAT(tensor_error(tampered(folder, "K\x06t", "K\x07t")),
              HasSubstr("must hold 7 elements of 4 bytes, but has 24 bytes"));
  EXPECT_THAT(tensor_error(tampered(folder, "FloatStorage", "FloatStorbge")),
              HasSubstr("mentions 'torch.FloatStorbge'"));
  EXPECT_THAT(tensor_error(tampered(folder, "little", "big   ")), HasSubstr("little-endian"));
}

TEST(TorchArchiveHostile, TruncatedAnywhere) {
  const test::TemporaryFolder folder;
  const std::string bytes = read_file(save(folder, at::arange(6, at::kFloat)));
  const fs::path path = folder / "cut.pt";
  constexpr size_t kStep = 5;  // an exception takes milliseconds in a program this large
  for (size_t length = 0; length < bytes.size(); length += kStep) {
    write_bytes(path, bytes.substr(0, length));
    ASSERT_THAT(tensor_error(path), HasSubstr(path.string() + ": torch archive of")) << length;
  }
}

TEST(TorchArchiveHostile, BytesChangedAnywhere) {
  const test::TemporaryFolder folder;
  const std::string bytes = read_file(save(folder, at::arange(6, at::kFloat)));
  const fs::path path = folder / "changed.pt";
  constexpr size_t kStep = 3;
  for (size_t place = 0; place < bytes.size(); place += kStep) {
    std::string changed = bytes;
    changed[place] = static_cast<char>(changed[place] ^ '\x81');
    write_bytes(path, changed);
    tensor_error(path);  // must end with an error of ours or a tensor
  }
}

TEST(OutputFile, ChecksumIsThatOfTheFile) {
  const test::TemporaryFolder folder;
  OutputFile out(folder / "bytes");
  const std::string large(3'000'001, 'x');
  out.write("small");
  out.write(large);
  out.pad_to(64);
  EXPECT_EQ(out.offset() % 64, 0U);
  const std::string checksum = out.finish();
  EXPECT_EQ(checksum, file_checksum(folder / "bytes"));
  EXPECT_EQ(read_file(folder / "bytes").substr(0, 3'000'006), "small" + large);
}

// The digits are those of Python's xxhash.xxh3_128_hexdigest(b"zoetrope").
TEST(OutputFile, ChecksumIsXxh3) {
  const test::TemporaryFolder folder;
  OutputFile out(folder / "bytes");
  out.write("zoetrope");
  EXPECT_EQ(out.finish(), "edb5a419cebf9893cd0a9c5374b26576");
}

TEST(OutputFile, ReportsEveryByte) {
  const test::TemporaryFolder folder;
  uint64_t num_reported = 0;
  OutputFile out(folder / "bytes", [&](uint64_t count) { num_reported += count; });
  out.write(std::string(5'000'000, 'x'));
  out.finish();
  EXPECT_EQ(num_reported, 5'000'000U);
}

TEST(OutputFile, FullDiskNamesPathAndCause) {
  const test::TemporaryFolder folder;
  const test::FileSizeLimit limit(1'000'000);
  OutputFile out(folder / "bytes");
  try {
    out.write(std::string(5'000'000, 'x'));
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr((folder / "bytes").string() + ": could not be written"));
    EXPECT_THAT(error.what(), HasSubstr("File too large"));
  }
}

TEST(OutputFile, FolderThatIsMissing) {
  const test::TemporaryFolder folder;
  EXPECT_THROW(OutputFile(folder / "nowhere" / "bytes"), CheckpointError);
}

}  // namespace
}  // namespace zoetrope
