#include "zoetrope/data/actions/parquet_actions.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace fs = std::filesystem;
namespace {

template <class Array>
std::vector<double> numbers_of(const arrow::Array& array) {
  const auto& typed = static_cast<const Array&>(array);
  std::vector<double> numbers;
  for (int64_t i = 0; i < typed.length(); ++i)
    numbers.push_back(static_cast<double>(typed.Value(i)));
  return numbers;
}

std::vector<double> to_numbers(const arrow::Array& array, const std::string& where) {
  if (array.null_count() > 0) fail<DataError>("{}: values must not be null, but some are", where);
  switch (array.type_id()) {
    case arrow::Type::DOUBLE:
      return numbers_of<arrow::DoubleArray>(array);
    case arrow::Type::FLOAT:
      return numbers_of<arrow::FloatArray>(array);
    case arrow::Type::INT64:
      return numbers_of<arrow::Int64Array>(array);
    case arrow::Type::INT32:
      return numbers_of<arrow::Int32Array>(array);
    case arrow::Type::INT8:
      return numbers_of<arrow::Int8Array>(array);
    case arrow::Type::UINT8:
      return numbers_of<arrow::UInt8Array>(array);
    case arrow::Type::BOOL:
      return numbers_of<arrow::BooleanArray>(array);
    default:
      fail<DataError>("{}: must be a list of numbers, but is one of {}", where,
                      array.type()->ToString());
  }
}

/// The values of one list.
std::shared_ptr<arrow::Array> list_at(const arrow::Array& lists, int64_t index,
                                      const std::string& where) {
  switch (lists.type_id()) {
    case arrow::Type::LIST:
      return static_cast<const arrow::ListArray&>(lists).value_slice(index);
    case arrow::Type::LARGE_LIST:
      return static_cast<const arrow::LargeListArray&>(lists).value_slice(index);
    case arrow::Type::FIXED_SIZE_LIST:
      return static_cast<const arrow::FixedSizeListArray&>(lists).value_slice(index);
    default:
      fail<DataError>("{}: must be a list of numbers, but is {}", where, lists.type()->ToString());
  }
}

std::vector<std::vector<double>> read_rows(const arrow::Table& table, const std::string& name,
                                           const fs::path& path) {
  std::vector<std::vector<double>> rows;
  const std::shared_ptr<arrow::ChunkedArray> column = table.GetColumnByName(name);
  if (!column) return rows;
  for (const auto& chunk : column->chunks()) {
    for (int64_t i = 0; i < chunk->length(); ++i) {
      const std::string where = fmt::format("{}: '{}' of row {}", path.string(), name, rows.size());
      if (chunk->IsNull(i)) fail<DataError>("{}: must not be null, but is", where);
      rows.push_back(to_numbers(*list_at(*chunk, i, where), where));
    }
  }
  return rows;
}

std::shared_ptr<arrow::Table> read_table(const fs::path& path) {
  auto file = arrow::io::ReadableFile::Open(path.string());
  if (!file.ok())
    fail<DataError>("{}: cannot be opened: {}", path.string(), file.status().message());
  try {
    auto reader = parquet::arrow::OpenFile(*file, arrow::default_memory_pool());
    arrow::Status status = reader.status();
    if (status.ok()) {
      auto table = (*reader)->ReadTable();
      if (table.ok()) return *std::move(table);
      status = table.status();
    }
    fail<DataError>("{}: must be a parquet file, but {}", path.string(), status.message());
  } catch (const parquet::ParquetException& error) {
    fail<DataError>("{}: must be a whole parquet file, but is damaged: {}", path.string(),
                    error.what());
  }
}

}  // namespace

ActionValues read_parquet_actions(const fs::path& path) {
  const std::shared_ptr<arrow::Table> table = read_table(path);
  return {read_rows(*table, "keyboard", path), read_rows(*table, "mouse", path)};
}

}  // namespace zoetrope
