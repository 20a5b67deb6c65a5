#include "zoetrope/data/row_decoder.h"

#include <cstring>
#include <optional>

#include <ATen/ATen.h>
#include <arrow/api.h>
#include <fmt/ranges.h>

#include "zoetrope/base/error.h"
#include "zoetrope/tensor/dtype.h"
#include "zoetrope/tensor/named_tensors.h"

namespace zoetrope {
namespace {

enum class CellKind { kBytes, kShape, kText, kInteger, kNumber };

struct ExpectedColumn {
  std::string name;
  CellKind kind;
  bool required;
};

std::vector<ExpectedColumn> expected_columns(const ParquetSchema& schema) {
  std::vector<ExpectedColumn> columns;
  for (const TensorColumn& tensor : schema.tensors) {
    columns.push_back({tensor.name + "_bytes", CellKind::kBytes, tensor.required});
    columns.push_back({tensor.name + "_shape", CellKind::kShape, tensor.required});
    columns.push_back({tensor.name + "_dtype", CellKind::kText, tensor.required});
  }
  for (const PlainColumn& plain : schema.plain) {
    const CellKind kind = plain.kind == PlainKind::kText      ? CellKind::kText
                          : plain.kind == PlainKind::kInteger ? CellKind::kInteger
                                                              : CellKind::kNumber;
    columns.push_back({plain.name, kind, plain.required});
  }
  return columns;
}

bool type_fits(const arrow::DataType& type, CellKind kind) {
  const arrow::Type::type id = type.id();
  switch (kind) {
    case CellKind::kBytes:
      return id == arrow::Type::BINARY || id == arrow::Type::LARGE_BINARY;
    case CellKind::kText:
      return id == arrow::Type::STRING || id == arrow::Type::LARGE_STRING;
    case CellKind::kInteger:
      return id == arrow::Type::INT64 || id == arrow::Type::INT32;
    case CellKind::kNumber:
      return id == arrow::Type::DOUBLE || id == arrow::Type::FLOAT;
    case CellKind::kShape:
      if (id != arrow::Type::LIST && id != arrow::Type::LARGE_LIST) return false;
      return type.field(0)->type()->id() == arrow::Type::INT64;
  }
  return false;
}

const char* kind_text(CellKind kind) {
  switch (kind) {
    case CellKind::kBytes:
      return "binary";
    case CellKind::kShape:
      return "list<int64>";
    case CellKind::kText:
      return "string";
    case CellKind::kInteger:
      return "int64";
    case CellKind::kNumber:
      return "double";
  }
  return "";
}

/// One cell: the chunk that holds it and its index there.
struct Cell {
  const arrow::Array* array = nullptr;
  int64_t index = 0;
};

/// The cell of `column`, or nothing when the column is absent or the value is null.
std::optional<Cell> find_cell(const arrow::Table& table, const std::string& column, int64_t row) {
  const std::shared_ptr<arrow::ChunkedArray> chunks = table.GetColumnByName(column);
  if (!chunks) return std::nullopt;
  for (const auto& chunk : chunks->chunks()) {
    if (row < chunk->length()) {
      if (chunk->IsNull(row)) return std::nullopt;
      return Cell{chunk.get(), row};
    }
    row -= chunk->length();
  }
  return std::nullopt;
}

std::string_view view_of(const Cell& cell) {
  switch (cell.array->type_id()) {
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::LARGE_STRING:
      return static_cast<const arrow::LargeBinaryArray&>(*cell.array).GetView(cell.index);
    default:
      return static_cast<const arrow::BinaryArray&>(*cell.array).GetView(cell.index);
  }
}

template <class ListArray>
std::vector<int64_t> list_values(const arrow::Array& array, int64_t index) {
  const auto& list = static_cast<const ListArray&>(array);
  const auto& values = static_cast<const arrow::Int64Array&>(*list.values());
  const int64_t* begin = values.raw_values() + list.value_offset(index);
  return {begin, begin + list.value_length(index)};
}

std::vector<int64_t> shape_of(const Cell& cell) {
  if (cell.array->type_id() == arrow::Type::LARGE_LIST) {
    return list_values<arrow::LargeListArray>(*cell.array, cell.index);
  }
  return list_values<arrow::ListArray>(*cell.array, cell.index);
}

int64_t integer_of(const Cell& cell) {
  if (cell.array->type_id() == arrow::Type::INT32) {
    return static_cast<const arrow::Int32Array&>(*cell.array).Value(cell.index);
  }
  return static_cast<const arrow::Int64Array&>(*cell.array).Value(cell.index);
}

double number_of(const Cell& cell) {
  if (cell.array->type_id() == arrow::Type::FLOAT) {
    return static_cast<const arrow::FloatArray&>(*cell.array).Value(cell.index);
  }
  return static_cast<const arrow::DoubleArray&>(*cell.array).Value(cell.index);
}

/// numpy's and PyTorch's names of the types that preprocessing writes.
std::optional<c10::ScalarType> stored_dtype(std::string_view name) {
  if (name.starts_with("torch.")) name.remove_prefix(6);
  if (const auto known = parse_dtype(name)) return known;
  if (name == "float64" || name == "double") return c10::kDouble;
  if (name == "int64") return c10::kLong;
  if (name == "int32") return c10::kInt;
  if (name == "int16") return c10::kShort;
  if (name == "int8") return c10::kChar;
  if (name == "uint8") return c10::kByte;
  if (name == "bool") return c10::kBool;
  return std::nullopt;
}

/// Number of elements of `shape`, or nothing when a size is negative or the product leaves int64.
std::optional<int64_t> count_elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) return std::nullopt;
  }
  return count;
}

}  // namespace

std::string describe_sample(const std::string& id, const std::string& file, int64_t row) {
  return fmt::format("sample '{}' (row {} of {})", id, row, file);
}

void check_columns(const arrow::Schema& stored, const ParquetSchema& schema,
                   const std::string& file) {
  std::vector<std::string> faults;
  for (const ExpectedColumn& expected : expected_columns(schema)) {
    const std::vector<int> found = stored.GetAllFieldIndices(expected.name);
    if (found.empty()) {
      if (expected.required) faults.push_back(fmt::format("column '{}' is missing", expected.name));
      continue;
    }
    if (found.size() > 1) {
      faults.push_back(
          fmt::format("column '{}' stands there {} times", expected.name, found.size()));
      continue;
    }
    const arrow::DataType& type = *stored.field(found.front())->type();
    if (!type_fits(type, expected.kind)) {
      faults.push_back(fmt::format("column '{}' must be {}, but is {}", expected.name,
                                   kind_text(expected.kind), type.ToString()));
    }
  }
  if (faults.empty()) return;
  fail<DataError>("{}: must have the columns of schema '{}', but {}; the file has: {}", file,
                  schema.name, fmt::join(faults, "; "), fmt::join(stored.field_names(), ", "));
}

ParquetRow RowDecoder::decode(const arrow::Table& table, int64_t row) const {
  ParquetRow decoded;
  decode_plain(table, row, decoded);
  const std::string sample = describe_sample(decoded.text("id"), file_, first_row_ + row);
  for (const PlainColumn& plain : schema_->plain) {
    if (plain.required && plain.kind == PlainKind::kText && !decoded.texts.contains(plain.name)) {
      fail<DataError>("{}: '{}' must be a text, but is null", sample, plain.name);
    }
  }
  for (const TensorColumn& column : schema_->tensors) {
    at::Tensor tensor = decode_tensor(table, column, row, sample);
    if (tensor.defined()) decoded.tensors.emplace(column.name, std::move(tensor));
  }
  return decoded;
}

void RowDecoder::decode_plain(const arrow::Table& table, int64_t row, ParquetRow& decoded) const {
  for (const PlainColumn& plain : schema_->plain) {
    const std::optional<Cell> cell = find_cell(table, plain.name, row);
    if (!cell) continue;
    switch (plain.kind) {
      case PlainKind::kText:
        decoded.texts[plain.name] = std::string(view_of(*cell));
        break;
      case PlainKind::kInteger:
        decoded.integers[plain.name] = integer_of(*cell);
        break;
      case PlainKind::kNumber:
        decoded.numbers[plain.name] = number_of(*cell);
        break;
    }
  }
}

at::Tensor RowDecoder::decode_tensor(const arrow::Table& table, const TensorColumn& column,
                                     int64_t row, const std::string& sample) const {
  const std::optional<Cell> bytes_cell = find_cell(table, column.name + "_bytes", row);
  const std::string_view bytes = bytes_cell ? view_of(*bytes_cell) : std::string_view();
  if (bytes.empty()) {
    if (!column.required) return {};
    fail<DataError>("{}: '{}' must hold a tensor, but is empty", sample, column.name);
  }
  const std::optional<Cell> shape_cell = find_cell(table, column.name + "_shape", row);
  const std::optional<Cell> dtype_cell = find_cell(table, column.name + "_dtype", row);
  if (!shape_cell || !dtype_cell) {
    fail<DataError>("{}: '{}' must have a shape and a dtype, but its {} is missing", sample,
                    column.name, shape_cell ? "dtype" : "shape");
  }
  const std::vector<int64_t> shape = shape_of(*shape_cell);
  const std::string dtype_text(view_of(*dtype_cell));
  const std::optional<c10::ScalarType> dtype = stored_dtype(dtype_text);
  if (!dtype) {
    fail<DataError>("{}: the dtype of '{}' must be a known one such as float32, but got '{}'",
                    sample, column.name, dtype_text);
  }
  const std::optional<int64_t> count = count_elements(shape);
  const auto element_bytes = static_cast<int64_t>(c10::elementSize(*dtype));
  const auto num_bytes = static_cast<int64_t>(bytes.size());
  if (!count || num_bytes % element_bytes != 0 || num_bytes / element_bytes != *count) {
    fail<DataError>("{}: '{}' must have as many bytes as shape {} of {} needs, but has {}", sample,
                    column.name, format_shape(shape), dtype_text, bytes.size());
  }
  if (column.num_dims != 0 && static_cast<int64_t>(shape.size()) != column.num_dims) {
    fail<DataError>("{}: '{}' must have {} dimensions, but has shape {}", sample, column.name,
                    column.num_dims, format_shape(shape));
  }
  at::Tensor stored = at::empty(shape, at::TensorOptions().dtype(*dtype));
  std::memcpy(stored.mutable_data_ptr(), bytes.data(), bytes.size());
  at::Tensor tensor = stored.to(at::kFloat);
  if (!at::isfinite(tensor).all().item<bool>()) {
    fail<DataError>("{}: '{}' must be finite, but holds NaN or infinite values", sample,
                    column.name);
  }
  return tensor;
}

}  // namespace zoetrope
