// Folders written by torch.distributed.checkpoint (tools/reference/make_dcp_golden.py) and by
// FastVideo (the cases of golden_root() that hold one).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/temporary_folder.h"
#include "unit/checkpoint/pickle_described.h"
#include "zoetrope/checkpoint/dcp/dcp_folder.h"
#include "zoetrope/checkpoint/dcp/dcp_writer.h"
#include "zoetrope/checkpoint/torch_archive/torch_archive.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Bit for bit; unsigned types come as the signed ones of their width.
bool same(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor tensor = actual.contiguous();
  return at::equal(
      tensor.scalar_type() == expected.scalar_type() ? tensor : tensor.view(expected.scalar_type()),
      expected);
}

class TorchFolder : public testing::TestWithParam<const char*> {};

TEST_P(TorchFolder, EveryTensorAndValueIsRead) {
  const fs::path path = test::checkpoint_golden() / GetParam();
  const DcpFolder folder(path);
  const SafetensorsFile tensors(path / "expected.safetensors");
  const json expected = test::read_json(path / "expected.json");
  EXPECT_EQ(folder.entries().size(), expected["tensors"].size() + expected["values"].size());
  for (const auto& [key, listed] : expected["tensors"].items()) {
    EXPECT_TRUE(same(folder.read_tensor(key), tensors.tensor(key))) << key;
    EXPECT_EQ(folder.entry(key).shape, listed["shape"].get<std::vector<int64_t>>()) << key;
    EXPECT_EQ(dcp_key(folder.entry(key).path), key);
    const at::Tensor destination =
        at::zeros(folder.entry(key).shape, at::TensorOptions().dtype(folder.entry(key).dtype));
    folder.read_into(key, destination);
    EXPECT_TRUE(same(destination, tensors.tensor(key))) << key;
  }
  for (const auto& [key, value] : expected["values"].items())
    EXPECT_EQ(test::described(folder.read_value(key)), value) << key;
}

INSTANTIATE_TEST_SUITE_P(Dcp, TorchFolder, testing::Values("one_rank", "two_ranks"));

// Every entry of `from`, written by two ranks: tensors of two rows or more in two parts.
void copy_in_parts(const DcpFolder& from, const fs::path& to) {
  std::vector<std::vector<DcpItem>> ranks(2);
  for (const auto& [key, entry] : from.entries()) {
    if (!entry.is_tensor) {
      ranks[0].push_back({key, entry.path, from.read_value(key), {}, {}});
      continue;
    }
    const at::Tensor tensor = from.read_tensor(key);
    if (entry.shape.empty() || entry.shape[0] < 2) {
      ranks[1].push_back({key, entry.path, tensor, {}, {}});
      continue;
    }
    std::vector<int64_t> offsets(entry.shape.size(), 0);
    const int64_t first_rows = entry.shape[0] / 2;
    ranks[0].push_back({key, entry.path, tensor.narrow(0, 0, first_rows), entry.shape, offsets});
    offsets[0] = first_rows;
    ranks[1].push_back({key, entry.path, tensor.narrow(0, first_rows, entry.shape[0] - first_rows),
                        entry.shape, offsets});
  }
  fs::create_directories(to);
  write_dcp_metadata(to, {write_dcp_file(to, 0, ranks[0]), write_dcp_file(to, 1, ranks[1])});
}

// With ZOETROPE_DCP_OUT, the copy stays there for tools/reference/check_dcp.py.
TEST_P(TorchFolder, CopyHoldsTheSame) {
  const test::TemporaryFolder temporary;
  const char* out = std::getenv("ZOETROPE_DCP_OUT");
  const fs::path copied = (out != nullptr ? fs::path(out) : temporary.path()) / GetParam();
  const DcpFolder folder(test::checkpoint_golden() / GetParam());
  copy_in_parts(folder, copied);
  const DcpFolder copy(copied);
  ASSERT_EQ(copy.entries().size(), folder.entries().size());
  for (const auto& [key, entry] : folder.entries()) {
    EXPECT_EQ(copy.entry(key).path, entry.path);
    if (entry.is_tensor) {
      EXPECT_EQ(copy.entry(key).dtype, entry.dtype);
      EXPECT_EQ(copy.read_tensor(key).sizes(), entry.shape);
    } else {
      EXPECT_EQ(copy.read_value(key), folder.read_value(key)) << key;
    }
  }
}

// Cases of FastVideo with a checkpoint and the list of what is in it.
std::vector<fs::path> fastvideo_cases() {
  std::vector<fs::path> cases;
  if (!fs::is_directory(test::golden_root())) return cases;
  for (const auto& entry : fs::directory_iterator(test::golden_root())) {
    if (fs::exists(entry.path() / "dcp_keys.json")) cases.push_back(entry.path());
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

fs::path checkpoint_of(const fs::path& golden) {
  for (const auto& entry : fs::directory_iterator(golden / "out")) {
    if (fs::exists(entry.path() / "dcp" / ".metadata")) return entry.path();
  }
  return {};
}

// FastVideo's name of a weight in its checkpoints, from the one in its Diffusers export.
std::string fastvideo_name(std::string name) {
  const std::vector<std::pair<std::string, std::string>> renames = {
      {"to_out.0.", "to_out."},
      {".attn1.", "."},
      {"ffn.net.0.proj.", "ffn.fc_in."},
      {"ffn.net.2.", "ffn.fc_out."},
      {"norm2.", "self_attn_residual_norm.norm."},
      {"time_embedder.linear_1.", "time_embedder.mlp.fc_in."},
      {"time_embedder.linear_2.", "time_embedder.mlp.fc_out."},
      {"text_embedder.linear_1.", "text_embedder.fc_in."},
      {"text_embedder.linear_2.", "text_embedder.fc_out."},
      {"time_proj.", "time_modulation.linear."},
      {"patch_embedding.", "patch_embedding.proj."},
  };
  for (const auto& [from, to] : renames) {
    const size_t place = name.find(from);
    if (place != std::string::npos) name.replace(place, from.size(), to);
  }
  return name;
}

class FastVideoFolder : public testing::TestWithParam<fs::path> {};

TEST_P(FastVideoFolder, HoldsTheListedKeys) {
  const DcpFolder folder(checkpoint_of(GetParam()) / "dcp");
  const json keys = test::read_json(GetParam() / "dcp_keys.json")["keys"];
  EXPECT_EQ(folder.entries().size(), keys.size());
  for (const auto& [key, listed] : keys.items()) {
    const DcpEntry& entry = folder.entry(key);
    EXPECT_EQ(entry.is_tensor, listed["type"] == "tensor") << key;
    DcpPath path;
    for (const json& part : listed["path"]) {
      if (part.is_number())
        path.emplace_back(part.get<int64_t>());
      else
        path.emplace_back(part.get<std::string>());
    }
    EXPECT_EQ(entry.path, path) << key;
    if (!entry.is_tensor) {
      folder.read_value(key);
      continue;
    }
    EXPECT_EQ(entry.shape, listed["shape"].get<std::vector<int64_t>>()) << key;
    ASSERT_EQ(entry.chunks.size(), listed["chunks"].size()) << key;
    for (size_t i = 0; i < entry.chunks.size(); ++i) {
      EXPECT_EQ(entry.chunks[i].box.offsets,
                listed["chunks"][i]["offsets"].get<std::vector<int64_t>>());
      EXPECT_EQ(entry.chunks[i].box.sizes,
                listed["chunks"][i]["sizes"].get<std::vector<int64_t>>());
    }
    EXPECT_EQ(folder.read_tensor(key).sizes(), entry.shape) << key;
  }
}

// FastVideo exported the same weights with PyTorch.
TEST_P(FastVideoFolder, WeightsAreThoseThatFastVideoExported) {
  const DcpFolder folder(checkpoint_of(GetParam()) / "dcp");
  const SafetensorsFile exported(GetParam() / "diffusers_export/transformer/model.safetensors");
  const std::string prefix = "roles.student.transformer.";
  size_t num_weights = 0;
  for (const auto& [key, entry] : folder.entries()) num_weights += key.starts_with(prefix) ? 1 : 0;
  EXPECT_EQ(num_weights, exported.entries().size());
  for (const auto& [name, entry] : exported.entries()) {
    EXPECT_TRUE(at::equal(folder.read_tensor(prefix + fastvideo_name(name)), exported.tensor(name)))
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Dcp, FastVideoFolder, testing::ValuesIn(fastvideo_cases()),
                         test::golden_test_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FastVideoFolder);

TEST(FastVideoRandomState, IsReadAsData) {
  for (const fs::path& golden : fastvideo_cases()) {
    const TorchArchive archive(checkpoint_of(golden) / "rng_state_rank0.pt");
    EXPECT_EQ(archive.tensor(archive.value().at("torch_rng")).numel(), 5056);
    EXPECT_EQ(archive.value().at("python_rng").as_elements().size(), 3U);
  }
}

}  // namespace
}  // namespace zoetrope
