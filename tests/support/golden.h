// Golden cases: folders with recorded tensors and a JSON description. Tests run every case that
// holds what they know; nothing about a single case is written in a test.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "zoetrope/tensor/named_tensors.h"
#include "zoetrope/tensor/safetensors.h"

namespace zoetrope::test {

/// One recorded case: `trace.json` with `trace.safetensors`, or `case.json` with
/// `tensors.safetensors`.
class GoldenCase {
 public:
  explicit GoldenCase(const std::filesystem::path& folder)
      : folder_(folder),
        stem_(std::filesystem::exists(folder / "trace.json") ? "trace" : "case"),
        tensors_(folder / (stem_ == "trace" ? "trace.safetensors" : "tensors.safetensors")) {
    std::ifstream file(folder / (stem_ + ".json"));
    json_ = nlohmann::json::parse(file);
  }

  const std::filesystem::path& folder() const { return folder_; }
  std::string name() const { return folder_.filename().string(); }
  const nlohmann::json& json() const { return json_; }
  /// The record of a training run's step.
  const nlohmann::json& step(int64_t number) const {
    const nlohmann::json& steps = json_.at("steps");
    return steps.at(static_cast<size_t>(number - steps.at(0).at("step").get<int64_t>()));
  }
  bool contains(const std::string& key) const { return tensors_.entries().contains(key); }
  at::Tensor tensor(const std::string& key) const { return tensors_.tensor(key); }
  std::vector<std::string> keys() const {
    std::vector<std::string> names;
    for (const auto& [key, entry] : tensors_.entries()) names.push_back(key);
    return names;
  }

 private:
  std::filesystem::path folder_;
  std::string stem_;
  SafetensorsFile tensors_;
  nlohmann::json json_;
};

/// The cases recorded from FastVideo that the project carries: for tests of a certain case.
inline std::filesystem::path reference_root() {
  return std::filesystem::path(ZOETROPE_SOURCE_DIR) / "tests/golden/reference";
}

/// $ZOETROPE_GOLDEN_DIR, or reference_root(): for tests of every case of a kind. Absolute, also
/// when the working folder changes.
inline const std::filesystem::path& golden_root() {
  static const std::filesystem::path root = [] {
    const char* folder = std::getenv("ZOETROPE_GOLDEN_DIR");
    return folder != nullptr ? std::filesystem::absolute(folder) : reference_root();
  }();
  return root;
}

/// Whether the cases are those that the project carries, among which there are some of every kind.
inline bool has_all_kinds() {
  return std::filesystem::weakly_canonical(golden_root()) ==
         std::filesystem::weakly_canonical(reference_root());
}

/// The cases of networks and schedulers that tools/reference recorded from diffusers and
/// transformers.
inline std::filesystem::path network_golden_root() {
  return std::filesystem::path(ZOETROPE_SOURCE_DIR) / "tests/golden/networks";
}

/// Folders below `root` (one level) that hold a case, sorted; empty when there are none.
inline std::vector<std::filesystem::path> golden_folders(const std::filesystem::path& root) {
  std::vector<std::filesystem::path> folders;
  if (!std::filesystem::is_directory(root)) return folders;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    const bool trace = std::filesystem::exists(entry.path() / "trace.json") &&
                       std::filesystem::exists(entry.path() / "trace.safetensors");
    const bool network = std::filesystem::exists(entry.path() / "case.json") &&
                         std::filesystem::exists(entry.path() / "tensors.safetensors");
    if (trace || network) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

/// Cases below `root` that `accepts` (given the GoldenCase) knows.
template <class Accepts>
std::vector<std::filesystem::path> golden_folders_where(const std::filesystem::path& root,
                                                        Accepts accepts) {
  std::vector<std::filesystem::path> known;
  for (const auto& folder : golden_folders(root)) {
    if (accepts(GoldenCase(folder))) known.push_back(folder);
  }
  return known;
}

/// Cases of network_golden_root() whose `kind` is `kind`.
inline std::vector<std::filesystem::path> network_golden_folders(const std::string& kind) {
  return golden_folders_where(network_golden_root(), [&](const GoldenCase& golden) {
    return golden.json().value("kind", std::string()) == kind;
  });
}

/// A gtest parameter's name from its folder's.
inline std::string golden_test_name(const testing::TestParamInfo<std::filesystem::path>& info) {
  std::string name = info.param.filename().string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

/// Success when shapes agree and |actual - expected| <= tolerance * max|expected| everywhere (NaN
/// fails); otherwise the worst element with both values. A tolerance of 0 asks for equality.
/// Integers are compared exactly by 0 too.
inline testing::AssertionResult is_close(const at::Tensor& actual, const at::Tensor& expected,
                                         double tolerance) {
  if (!actual.defined()) return testing::AssertionFailure() << "the actual tensor is undefined";
  if (actual.sizes() != expected.sizes()) {
    return testing::AssertionFailure() << "shape is " << format_shape(actual.sizes())
                                       << ", expected " << format_shape(expected.sizes());
  }
  if (actual.numel() == 0) return testing::AssertionSuccess();
  const at::Tensor a = actual.detach().to(at::kCPU, at::kDouble).flatten();
  const at::Tensor e = expected.detach().to(at::kCPU, at::kDouble).flatten();
  const at::Tensor difference = (a - e).abs().nan_to_num(HUGE_VAL, HUGE_VAL);
  const double scale = e.abs().max().item<double>();
  const double limit = tolerance * scale;
  const int64_t worst = difference.argmax().item<int64_t>();
  const double worst_difference = difference[worst].item<double>();
  if (worst_difference <= limit) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "worst element " << worst << " of " << format_shape(expected.sizes()) << " is "
         << a[worst].item<double>() << ", expected " << e[worst].item<double>() << "; difference "
         << worst_difference << " is " << (scale > 0 ? worst_difference / scale : worst_difference)
         << " of the scale " << scale << ", allowed " << tolerance;
}

}  // namespace zoetrope::test

/// Fails the test unless is_close(); prints the expressions and the worst element.
#define EXPECT_TENSOR_CLOSE(actual, expected, tolerance) \
  EXPECT_TRUE(::zoetrope::test::is_close((actual), (expected), (tolerance)))
#define ASSERT_TENSOR_CLOSE(actual, expected, tolerance) \
  ASSERT_TRUE(::zoetrope::test::is_close((actual), (expected), (tolerance)))
