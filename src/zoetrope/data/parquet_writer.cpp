#include "zoetrope/data/parquet_writer.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/writer.h>
#include <parquet/exception.h>
#include <parquet/properties.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"

namespace zoetrope {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kRowGroupBytes = 16 << 20;

void check(const arrow::Status& status, const fs::path& path) {
  if (!status.ok()) fail("{}: cannot be written: {}", path.string(), status.message());
}

/// numpy's name, since that is what FastVideo writes.
std::string numpy_dtype_name(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::kFloat:
      return "float32";
    case c10::kDouble:
      return "float64";
    case c10::kHalf:
      return "float16";
    case c10::kBFloat16:
      return "bfloat16";
    case c10::kLong:
      return "int64";
    case c10::kInt:
      return "int32";
    case c10::kByte:
      return "uint8";
    default:
      fail(
          "parquet writer: a tensor must be float32, float64, float16, bfloat16, int64, int32 or "
          "uint8, but is {}",
          c10::toString(dtype));
  }
}

std::shared_ptr<arrow::Schema> arrow_schema(const ParquetSchema& schema) {
  const auto plain_field = [](const PlainColumn& column) {
    switch (column.kind) {
      case PlainKind::kInteger:
        return arrow::field(column.name, arrow::int64());
      case PlainKind::kNumber:
        return arrow::field(column.name, arrow::float64());
      default:
        return arrow::field(column.name, arrow::utf8());
    }
  };
  arrow::FieldVector fields = {plain_field(schema.plain.front())};
  for (const TensorColumn& tensor : schema.tensors) {
    fields.push_back(arrow::field(tensor.name + "_bytes", arrow::binary()));
    fields.push_back(
        arrow::field(tensor.name + "_shape", arrow::list(arrow::field("element", arrow::int64()))));
    fields.push_back(arrow::field(tensor.name + "_dtype", arrow::utf8()));
  }
  for (size_t i = 1; i < schema.plain.size(); ++i) fields.push_back(plain_field(schema.plain[i]));
  return arrow::schema(fields);
}

/// Appends the rows' cells to the builders of one batch of Arrow columns.
class TableBuilder {
 public:
  TableBuilder(const ParquetSchema& schema, const fs::path& path)
      : schema_(schema), path_(path), arrow_schema_(arrow_schema(schema)) {
    auto made = arrow::RecordBatchBuilder::Make(arrow_schema_, arrow::default_memory_pool());
    check(made.status(), path);
    builder_ = *std::move(made);
  }

  void append(const ParquetRow& row) {
    for (const TensorColumn& tensor : schema_.tensors) append_tensor(tensor, row);
    for (const PlainColumn& plain : schema_.plain) append_plain(plain, row);
  }

  std::shared_ptr<arrow::Table> finish() {
    arrow::Result<std::shared_ptr<arrow::RecordBatch>> batch = builder_->Flush();
    check(batch.status(), path_);
    arrow::Result<std::shared_ptr<arrow::Table>> table =
        arrow::Table::FromRecordBatches(arrow_schema_, {*batch});
    check(table.status(), path_);
    return *std::move(table);
  }

 private:
  template <class Builder>
  Builder& column(const std::string& name) {
    return *builder_->GetFieldAs<Builder>(arrow_schema_->GetFieldIndex(name));
  }

  void append_tensor(const TensorColumn& tensor, const ParquetRow& row) {
    const auto found = row.tensors.find(tensor.name);
    if (found == row.tensors.end() && tensor.required) {
      fail<DataError>("{}: row '{}' must have the tensor '{}', but has none", path_.string(),
                      row.text("id"), tensor.name);
    }
    auto& bytes = column<arrow::BinaryBuilder>(tensor.name + "_bytes");
    auto& shape = column<arrow::ListBuilder>(tensor.name + "_shape");
    auto& dtype = column<arrow::StringBuilder>(tensor.name + "_dtype");
    check(shape.Append(), path_);
    if (found == row.tensors.end()) {  // as FastVideo: no bytes, an empty shape, an empty dtype
      check(bytes.Append(""), path_);
      check(dtype.Append(""), path_);
      return;
    }
    const at::Tensor stored = found->second.cpu().contiguous();
    check(bytes.Append(static_cast<const char*>(stored.const_data_ptr()),
                       static_cast<int32_t>(stored.nbytes())),
          path_);
    auto& sizes = static_cast<arrow::Int64Builder&>(*shape.value_builder());
    for (const int64_t size : stored.sizes()) check(sizes.Append(size), path_);
    check(dtype.Append(numpy_dtype_name(stored.scalar_type())), path_);
  }

  void append_plain(const PlainColumn& plain, const ParquetRow& row) {
    switch (plain.kind) {
      case PlainKind::kText:
        append_value<arrow::StringBuilder>(plain, row, row.texts);
        break;
      case PlainKind::kInteger:
        append_value<arrow::Int64Builder>(plain, row, row.integers);
        break;
      case PlainKind::kNumber:
        append_value<arrow::DoubleBuilder>(plain, row, row.numbers);
        break;
    }
  }

  template <class Builder, class Value>
  void append_value(const PlainColumn& plain, const ParquetRow& row,
                    const std::map<std::string, Value>& values) {
    const auto found = values.find(plain.name);
    if (found == values.end() && plain.required) {
      fail<DataError>("{}: row '{}' must have a value for '{}', but has none", path_.string(),
                      row.text("id"), plain.name);
    }
    auto& builder = column<Builder>(plain.name);
    check(found == values.end() ? builder.AppendNull() : builder.Append(found->second), path_);
  }

  const ParquetSchema& schema_;
  const fs::path& path_;
  std::shared_ptr<arrow::Schema> arrow_schema_;
  std::unique_ptr<arrow::RecordBatchBuilder> builder_;
};

int64_t rows_per_group(const std::vector<ParquetRow>& rows) {
  int64_t bytes = 0;
  for (const ParquetRow& row : rows) {
    for (const auto& [name, tensor] : row.tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  }
  const int64_t bytes_per_row =
      std::max<int64_t>(1, bytes / std::max<int64_t>(1, std::ssize(rows)));
  return std::max<int64_t>(1, kRowGroupBytes / bytes_per_row);
}

}  // namespace

void write_parquet_file(const fs::path& path, const ParquetSchema& schema,
                        const std::vector<ParquetRow>& rows) {
  AtomicFile file(path);
  try {
    TableBuilder builder(schema, path);
    for (const ParquetRow& row : rows) builder.append(row);
    const std::shared_ptr<arrow::Table> table = builder.finish();

    auto properties = parquet::WriterProperties::Builder();
    properties.compression(arrow::Compression::ZSTD)->enable_page_checksum();
    auto arrow_properties = parquet::ArrowWriterProperties::Builder();
    arrow_properties.store_schema();
    auto stream = arrow::io::FileOutputStream::Open(file.temporary().string());
    check(stream.status(), path);
    check(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), *stream,
                                     rows_per_group(rows), properties.build(),
                                     arrow_properties.build()),
          path);
    check((*stream)->Close(), path);
  } catch (const parquet::ParquetException& error) {
    fail("{}: cannot be written: {}", path.string(), error.what());
  }
  file.commit();
}

ParquetChunkWriter::ParquetChunkWriter(fs::path folder, const ParquetSchema& schema,
                                       int64_t rows_per_file, int64_t first_chunk)
    : folder_(std::move(folder)),
      schema_(&schema),
      rows_per_file_(rows_per_file),
      next_chunk_(first_chunk) {
  if (rows_per_file_ < 1)
    fail<ConfigError>("rows per file: must be at least 1, but got {}", rows_per_file_);
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail("{}: the folder cannot be made: {}", folder_.string(), error.message());
}

std::optional<fs::path> ParquetChunkWriter::append(ParquetRow row) {
  rows_.push_back(std::move(row));
  return num_waiting_rows() >= rows_per_file_ ? flush() : std::nullopt;
}

std::optional<fs::path> ParquetChunkWriter::flush() {
  if (rows_.empty()) return std::nullopt;
  fs::path path = folder_ / fmt::format("data_chunk_{}.parquet", next_chunk_);
  write_parquet_file(path, *schema_, rows_);
  ++next_chunk_;
  rows_.clear();
  return path;
}

}  // namespace zoetrope
