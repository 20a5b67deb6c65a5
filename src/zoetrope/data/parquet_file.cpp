#include "zoetrope/data/parquet_file.h"

#include <algorithm>

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>

#include "zoetrope/base/error.h"
#include "zoetrope/data/row_decoder.h"

namespace zoetrope {
namespace fs = std::filesystem;

struct ParquetFile::Footer {
  std::shared_ptr<parquet::FileMetaData> metadata;
  std::vector<int> leaf_columns;  // of the schema's columns only
};

namespace {

parquet::ReaderProperties reader_properties() {
  parquet::ReaderProperties properties = parquet::default_reader_properties();
  properties.set_page_checksum_verification(true);
  return properties;
}

std::unique_ptr<parquet::arrow::FileReader> open_reader(
    const fs::path& path, std::shared_ptr<parquet::FileMetaData> metadata) {
  arrow::Result<std::shared_ptr<arrow::io::ReadableFile>> file =
      arrow::io::ReadableFile::Open(path.string());
  if (!file.ok()) {
    fail<DataError>("{}: must be a readable parquet file, but cannot be opened: {}", path.string(),
                    file.status().message());
  }
  parquet::ArrowReaderProperties arrow_properties;
  arrow_properties.set_use_threads(false);
  parquet::arrow::FileReaderBuilder builder;
  const arrow::Status opened = builder.Open(*file, reader_properties(), std::move(metadata));
  if (!opened.ok())
    fail<DataError>("{}: must be a parquet file, but {}", path.string(), opened.message());
  std::unique_ptr<parquet::arrow::FileReader> reader;
  const arrow::Status built = builder.properties(arrow_properties)->Build(&reader);
  if (!built.ok())
    fail<DataError>("{}: must be a parquet file, but {}", path.string(), built.message());
  return reader;
}

bool belongs_to_schema(const ParquetSchema& schema, const std::string& column) {
  for (const PlainColumn& plain : schema.plain) {
    if (plain.name == column) return true;
  }
  for (const TensorColumn& tensor : schema.tensors) {
    if (column == tensor.name + "_bytes" || column == tensor.name + "_shape" ||
        column == tensor.name + "_dtype") {
      return true;
    }
  }
  return false;
}

class TableRowGroup : public RowGroup {
 public:
  TableRowGroup(std::shared_ptr<arrow::Table> table, RowDecoder decoder, int64_t num_bytes)
      : table_(std::move(table)), decoder_(std::move(decoder)), num_bytes_(num_bytes) {}

  int64_t num_rows() const override { return table_->num_rows(); }
  int64_t num_bytes() const override { return num_bytes_; }
  ParquetRow row(int64_t row) const override { return decoder_.decode(*table_, row); }

 private:
  std::shared_ptr<arrow::Table> table_;
  RowDecoder decoder_;
  int64_t num_bytes_;
};

int64_t array_bytes(const arrow::ArrayData& array) {
  int64_t bytes = 0;
  for (const auto& buffer : array.buffers) bytes += buffer ? buffer->size() : 0;
  for (const auto& child : array.child_data) bytes += array_bytes(*child);
  return bytes;
}

int64_t table_bytes(const arrow::Table& table) {
  int64_t bytes = 0;
  for (const auto& column : table.columns()) {
    for (const auto& chunk : column->chunks()) bytes += array_bytes(*chunk->data());
  }
  return bytes;
}

}  // namespace

const ParquetSchema& detect_parquet_schema(const fs::path& path) {
  std::shared_ptr<arrow::Schema> stored;
  try {
    const arrow::Status status = open_reader(path, nullptr)->GetSchema(&stored);
    if (!status.ok())
      fail<DataError>("{}: its columns cannot be understood: {}", path.string(), status.message());
  } catch (const parquet::ParquetException& error) {
    fail<DataError>("{}: must be a whole parquet file, but is damaged: {}", path.string(),
                    error.what());
  }
  const auto has = [&](const std::string& column) { return stored->GetFieldIndex(column) >= 0; };
  const ParquetSchema* best = nullptr;
  for (const ParquetSchema& schema : parquet_schemas()) {
    const bool fits = std::ranges::all_of(schema.tensors, [&](const TensorColumn& column) {
      return !column.required || has(column.name + "_bytes");
    });
    if (fits && (best == nullptr || schema.tensors.size() > best->tensors.size())) best = &schema;
  }
  if (best != nullptr) return *best;
  fail<DataError>("{}: must have the columns of one of the known schemas, but has none's",
                  path.string());
}

ParquetFile::ParquetFile(fs::path path, const ParquetSchema& schema)
    : path_(std::move(path)), schema_(&schema), footer_(std::make_unique<Footer>()) {
  if (fs::is_directory(path_))
    fail<DataError>("{}: must be a parquet file, but is a folder", path_.string());
  try {
    const auto reader = open_reader(path_, nullptr);
    footer_->metadata = reader->parquet_reader()->metadata();
    std::shared_ptr<arrow::Schema> stored;
    const arrow::Status status = reader->GetSchema(&stored);
    if (!status.ok())
      fail<DataError>("{}: its columns cannot be understood: {}", path_.string(), status.message());
    check_columns(*stored, schema, path_.string());
  } catch (const parquet::ParquetException& error) {
    fail<DataError>("{}: must be a whole parquet file, but is damaged: {}", path_.string(),
                    error.what());
  }
  const parquet::SchemaDescriptor& columns = *footer_->metadata->schema();
  for (int leaf = 0; leaf < columns.num_columns(); ++leaf) {
    if (belongs_to_schema(schema, columns.GetColumnRoot(leaf)->name()))
      footer_->leaf_columns.push_back(leaf);
  }
  row_group_starts_.push_back(0);
  for (int group = 0; group < footer_->metadata->num_row_groups(); ++group) {
    row_group_starts_.push_back(row_group_starts_.back() +
                                footer_->metadata->RowGroup(group)->num_rows());
  }
}

ParquetFile::~ParquetFile() = default;
ParquetFile::ParquetFile(ParquetFile&&) noexcept = default;
ParquetFile& ParquetFile::operator=(ParquetFile&&) noexcept = default;

std::shared_ptr<const RowGroup> ParquetFile::read_row_group(int64_t index) const {
  const auto group = static_cast<size_t>(index);
  try {
    // Each call has its own reader: Arrow's is not meant for several threads, and opening with a
    // known footer is cheap.
    const auto reader = open_reader(path_, footer_->metadata);
    arrow::Result<std::shared_ptr<arrow::Table>> table =
        reader->ReadRowGroup(static_cast<int>(index), footer_->leaf_columns);
    arrow::Status status = table.status();
    if (status.ok()) status = (*table)->ValidateFull();
    const int64_t expected_rows = row_group_starts_[group + 1] - row_group_starts_[group];
    if (status.ok() && (*table)->num_rows() != expected_rows) {
      status = arrow::Status::Invalid("it has ", (*table)->num_rows(),
                                      " rows where the footer says ", expected_rows);
    }
    if (!status.ok()) {
      fail<DataError>("{}: row group {} cannot be read: {}", path_.string(), index,
                      status.message());
    }
    const int64_t num_bytes = table_bytes(**table);
    RowDecoder decoder(*schema_, path_.string(), row_group_starts_[group]);
    return std::make_shared<TableRowGroup>(*std::move(table), std::move(decoder), num_bytes);
  } catch (const parquet::ParquetException& error) {
    fail<DataError>("{}: row group {} is damaged: {}", path_.string(), index, error.what());
  }
}

}  // namespace zoetrope
