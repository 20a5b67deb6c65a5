#include "zoetrope/data/actions/action_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <sstream>

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/data/actions/numpy_file.h"
#include "zoetrope/data/actions/parquet_actions.h"
#include "zoetrope/data/preprocess/csv.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace fs = std::filesystem;
namespace {

constexpr std::array kEndings = {".jsonl", ".csv", ".npz", ".npy", ".parquet"};
constexpr int64_t kMouseAxes = 2;
constexpr size_t kMaxListedRows = 20;

ActionValues read_json_actions(const fs::path& path) {
  ActionValues values;
  std::istringstream lines(read_file(path));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      const nlohmann::json row = nlohmann::json::parse(line);
      for (auto& [name, rows] :
           {std::pair("keyboard", &values.keyboard), std::pair("mouse", &values.mouse)}) {
        if (!row.contains(name)) continue;
        std::vector<double>& numbers = rows->emplace_back();
        for (const nlohmann::json& value : row.at(name)) {
          const bool pressed = value.is_boolean() && value.get<bool>();
          numbers.push_back(value.is_boolean() ? static_cast<double>(pressed)
                                               : value.get<double>());
        }
      }
    } catch (const nlohmann::json::exception& error) {
      fail<DataError>("{}:{}: must be an object with lists of numbers, but {}", path.string(),
                      number, error.what());
    }
  }
  return values;
}

double read_number(const CsvRecord& record, const std::string& column, const fs::path& path) {
  const std::string& text = record.values.at(column);
  double number = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail<DataError>("{}:{}: '{}' must be a number, but is '{}'", path.string(), record.line, column,
                    text);
  }
  return number;
}

ActionValues read_csv_actions(const fs::path& path) {
  ActionValues values;
  for (const CsvRecord& record : parse_csv(read_file(path), path.string())) {
    for (auto& [name, rows] :
         {std::pair("keyboard", &values.keyboard), std::pair("mouse", &values.mouse)}) {
      std::vector<double> numbers;
      for (std::string column;
           record.values.contains(column = fmt::format("{}_{}", name, numbers.size()));) {
        numbers.push_back(read_number(record, column, path));
      }
      if (!numbers.empty()) rows->push_back(std::move(numbers));
    }
  }
  return values;
}

std::vector<std::vector<double>> rows_of(const at::Tensor& array_FK, const std::string& name,
                                         const fs::path& path) {
  if (array_FK.dim() != 2) {
    fail<DataError>("{}: '{}' must be an array of one row for each frame, but has shape {}",
                    path.string(), name, format_shape(array_FK.sizes()));
  }
  const at::Tensor numbers_FK = array_FK.to(at::kDouble).contiguous();
  const auto* number = numbers_FK.const_data_ptr<double>();
  std::vector<std::vector<double>> rows;
  for (int64_t row = 0; row < numbers_FK.size(0); ++row, number += numbers_FK.size(1))
    rows.emplace_back(number, number + numbers_FK.size(1));
  return rows;
}

ActionValues read_numpy_actions(const fs::path& path) {
  ActionValues values;
  const std::map<std::string, at::Tensor> arrays = read_numpy_arrays(path);
  for (const auto& [name, array] : arrays) {
    if (name == "keyboard" || name.empty()) values.keyboard = rows_of(array, "keyboard", path);
    if (name == "mouse") values.mouse = rows_of(array, name, path);
  }
  return values;
}

ActionValues read_values(const fs::path& path) {
  const std::string ending = path.extension().string();
  if (ending == ".jsonl") return read_json_actions(path);
  if (ending == ".csv") return read_csv_actions(path);
  if (ending == ".npz" || ending == ".npy") return read_numpy_actions(path);
  if (ending == ".parquet") return read_parquet_actions(path);
  fail<DataError>("{}: actions must end in one of {}, but end in '{}'", path.string(),
                  fmt::join(kEndings, ", "), ending);
}

/// Adds what is wrong with the rows of `name` to `faults`.
void check_rows(const std::vector<std::vector<double>>& rows, const char* name, size_t width,
                std::vector<std::string>& faults) {
  for (size_t row = 0; row < rows.size(); ++row) {
    if (rows[row].size() != width) {
      faults.push_back(
          fmt::format("row {} has {} {} values, not {}", row, rows[row].size(), name, width));
    } else if (!std::ranges::all_of(rows[row], [](double x) { return std::isfinite(x); })) {
      faults.push_back(fmt::format("row {} has a {} value that is not finite", row, name));
    }
  }
}

at::Tensor to_tensor(const std::vector<std::vector<double>>& rows) {
  if (rows.empty()) return {};
  at::Tensor tensor = at::empty({std::ssize(rows), std::ssize(rows.front())}, at::kFloat);
  auto* number = tensor.mutable_data_ptr<float>();
  for (const std::vector<double>& row : rows) {
    number =
        std::ranges::transform(row, number, [](double x) { return static_cast<float>(x); }).out;
  }
  return tensor;
}

}  // namespace

FrameActions read_action_file(const fs::path& path) {
  const ActionValues values = read_values(path);
  if (values.keyboard.empty() && values.mouse.empty()) {
    fail<DataError>("{}: must have rows with keyboard or mouse, but has none", path.string());
  }
  std::vector<std::string> faults;
  if (!values.keyboard.empty()) {
    const size_t num_keys = std::max<size_t>(1, values.keyboard.front().size());
    check_rows(values.keyboard, "keyboard", num_keys, faults);
  }
  check_rows(values.mouse, "mouse", kMouseAxes, faults);
  if (!values.keyboard.empty() && !values.mouse.empty() &&
      values.keyboard.size() != values.mouse.size()) {
    faults.push_back(fmt::format("there are {} rows of keyboard and {} of mouse",
                                 values.keyboard.size(), values.mouse.size()));
  }
  if (!faults.empty()) {
    const size_t num_more = faults.size() - std::min(faults.size(), kMaxListedRows);
    faults.resize(faults.size() - num_more);
    if (num_more > 0) faults.push_back(fmt::format("and {} more", num_more));
    fail<DataError>("{}: every row must have the same number of finite values, but {}",
                    path.string(), fmt::join(faults, "; "));
  }
  return {to_tensor(values.keyboard), to_tensor(values.mouse)};
}

fs::path find_action_file(const fs::path& video) {
  std::vector<fs::path> found;
  for (const char* ending : kEndings) {
    fs::path path = fs::path(video).replace_extension(ending);
    if (fs::exists(path)) found.push_back(std::move(path));
  }
  if (found.size() == 1) return found.front();
  fail<DataError>(
      "{}: must have one file of actions beside it, with its name and one of the endings {}, but "
      "has {}",
      video.string(), fmt::join(kEndings, ", "), found.size());
}

}  // namespace zoetrope
