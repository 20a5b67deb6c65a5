// Parquet files: what is written comes back, and every kind of damage is refused with the sample's
// or file's name.
#include <csignal>
#include <fstream>

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <gmock/gmock.h>
#include <parquet/arrow/writer.h>
#include <sys/resource.h>

#include "row_making.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/data/parquet_file.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

const ParquetSchema& t2v() {
  return parquet_schema("t2v");
}

ParquetRow read_only_row(const fs::path& path, const ParquetSchema& schema = t2v()) {
  return ParquetFile(path, schema).read_row_group(0)->row(0);
}

/// A file with the plain Arrow columns given, so that tests can write what our writer would not.
void write_columns(const fs::path& path, const arrow::FieldVector& fields,
                   const arrow::ArrayVector& arrays) {
  const auto table = arrow::Table::Make(arrow::schema(fields), arrays);
  const auto stream = arrow::io::FileOutputStream::Open(path.string()).ValueOrDie();
  ASSERT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), stream).ok());
  ASSERT_TRUE(stream->Close().ok());
}

template <class Builder, class... Values>
std::shared_ptr<arrow::Array> one_value(Values... values) {
  Builder builder;
  EXPECT_TRUE(builder.Append(values...).ok());
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::Array> shape_value(const std::vector<int64_t>& sizes) {
  arrow::ListBuilder builder(arrow::default_memory_pool(), std::make_shared<arrow::Int64Builder>());
  EXPECT_TRUE(builder.Append().ok());
  EXPECT_TRUE(static_cast<arrow::Int64Builder*>(builder.value_builder())->AppendValues(sizes).ok());
  return builder.Finish().ValueOrDie();
}

/// A text_only file of one row with the embedding's three columns as given.
void write_text_only(const fs::path& path, const std::string& bytes,
                     const std::vector<int64_t>& shape, const std::string& dtype) {
  write_columns(
      path,
      {arrow::field("id", arrow::utf8()), arrow::field("text_embedding_bytes", arrow::binary()),
       arrow::field("text_embedding_shape", arrow::list(arrow::int64())),
       arrow::field("text_embedding_dtype", arrow::utf8()), arrow::field("caption", arrow::utf8())},
      {one_value<arrow::StringBuilder>("text_7"), one_value<arrow::BinaryBuilder>(bytes),
       shape_value(shape), one_value<arrow::StringBuilder>(dtype),
       one_value<arrow::StringBuilder>("a caption")});
}

std::string bytes_of(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

TEST(Parquet, ReadsBackWhatItWrites) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "rows.parquet";
  std::vector<ParquetRow> rows;
  for (int64_t number = 0; number < 5; ++number) rows.push_back(test::t2v_row(number));
  rows[2].tensors["vae_latent"] = at::arange(48).reshape({4, 2, 2, 3}).to(at::kFloat) / 7;
  write_parquet_file(path, t2v(), rows);

  const ParquetFile file(path, t2v());
  ASSERT_EQ(file.num_rows(), 5);
  const auto group = file.read_row_group(0);
  for (int64_t number = 0; number < 5; ++number) {
    const ParquetRow row = group->row(number);
    const ParquetRow& written = rows[static_cast<size_t>(number)];
    EXPECT_EQ(row.texts, written.texts);
    EXPECT_EQ(row.integers, written.integers);
    EXPECT_EQ(row.numbers, written.numbers);
    for (const auto& [name, tensor] : written.tensors)
      EXPECT_TRUE(at::equal(row.tensors.at(name), tensor)) << name;
  }
}

TEST(Parquet, OptionalTensorsMayBeAbsent) {
  const test::TemporaryFolder folder;
  ParquetRow row = test::t2v_row(1);
  row.tensors["clip_feature"] = at::ones({2, 3});
  row.tensors["first_frame_latent"] = at::ones({4, 2, 2, 3});
  write_parquet_file(folder / "i2v.parquet", parquet_schema("i2v"), {row});
  const ParquetRow read = read_only_row(folder / "i2v.parquet", parquet_schema("i2v"));
  EXPECT_FALSE(read.tensors.contains("pil_image"));
  EXPECT_TRUE(read.tensors.contains("clip_feature"));
}

TEST(Parquet, ConvertsStoredTypesToFp32) {
  const test::TemporaryFolder folder;
  for (const auto dtype : {at::kBFloat16, at::kHalf, at::kDouble, at::kLong}) {
    ParquetRow row = test::t2v_row(1);
    row.tensors["text_embedding"] = (at::arange(6).reshape({2, 3})).to(dtype);
    write_parquet_file(folder / "typed.parquet", t2v(), {row});
    const at::Tensor read = read_only_row(folder / "typed.parquet").tensors.at("text_embedding");
    EXPECT_EQ(read.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(read, at::arange(6).reshape({2, 3}).to(at::kFloat)));
  }
}

TEST(Parquet, ReadsManyRowGroups) {
  const test::TemporaryFolder folder;
  std::vector<ParquetRow> rows;
  for (int64_t number = 0; number < 3; ++number) {
    rows.push_back(test::t2v_row(number));
    rows.back().tensors["vae_latent"] =
        at::full({16, 4, 256, 512}, static_cast<double>(number));  // 32 MiB
  }
  write_parquet_file(folder / "large.parquet", t2v(), rows);
  const ParquetFile file(folder / "large.parquet", t2v());
  EXPECT_EQ(file.row_group_starts(), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(file.read_row_group(2)->row(0).text("id"), "clip_2");
}

TEST(Parquet, NamesMissingAndWrongColumns) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "columns.parquet";
  write_columns(path, {arrow::field("id", arrow::utf8()), arrow::field("caption", arrow::int64())},
                {one_value<arrow::StringBuilder>("a"), one_value<arrow::Int64Builder>(3)});
  EXPECT_THAT(
      [&] { ParquetFile(path, parquet_schema("text_only")); },
      ThrowsMessage<DataError>(AllOf(HasSubstr("columns.parquet"), HasSubstr("schema 'text_only'"),
                                     HasSubstr("column 'text_embedding_bytes' is missing"),
                                     HasSubstr("column 'caption' must be string, but is int64"))));
}

TEST(Parquet, NamesTheSampleWhoseBytesDoNotFit) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "text.parquet";
  const std::string bytes = bytes_of(at::ones({2, 3}));
  const auto read = [&] { read_only_row(path, parquet_schema("text_only")); };

  write_text_only(path, bytes, {2, 3}, "float32");
  EXPECT_NO_THROW(read());
  const std::string sample = "sample 'text_7' (row 0 of " + path.string() + ")";
  write_text_only(path, bytes, {2, 4}, "float32");
  EXPECT_THAT(read, ThrowsMessage<DataError>(AllOf(
                        HasSubstr(sample), HasSubstr("[2, 4] of float32 needs, but has 24"))));
  write_text_only(path, bytes, {2, 3}, "bfloat16");
  EXPECT_THAT(read, ThrowsMessage<DataError>(AllOf(HasSubstr(sample), HasSubstr("bfloat16"))));
  write_text_only(path, bytes, {-2, -3}, "float32");
  EXPECT_THAT(read, ThrowsMessage<DataError>(HasSubstr("[-2, -3]")));
  write_text_only(path, bytes, {int64_t{1} << 40, int64_t{1} << 40}, "float32");
  EXPECT_THAT(read, ThrowsMessage<DataError>(HasSubstr("needs, but has 24")));
  write_text_only(path, bytes, {6}, "float32");
  EXPECT_THAT(read,
              ThrowsMessage<DataError>(HasSubstr("must have 2 dimensions, but has shape [6]")));
  write_text_only(path, bytes, {2, 3}, "complex64");
  EXPECT_THAT(read, ThrowsMessage<DataError>(HasSubstr("'complex64'")));
  write_text_only(path, "", {}, "");
  EXPECT_THAT(read, ThrowsMessage<DataError>(AllOf(HasSubstr(sample), HasSubstr("is empty"))));
  at::Tensor infinite = at::ones({2, 3});
  infinite[1][2] = HUGE_VAL;
  write_text_only(path, bytes_of(infinite), {2, 3}, "float32");
  EXPECT_THAT(read, ThrowsMessage<DataError>(
                        AllOf(HasSubstr(sample), HasSubstr("'text_embedding' must be finite"))));
}

TEST(Parquet, RefusesWhatIsNoParquetFile) {
  const test::TemporaryFolder folder;
  const auto open = [&](const std::string& name) {
    return [path = folder / name] { ParquetFile(path, t2v()); };
  };
  EXPECT_THAT(open("absent.parquet"), ThrowsMessage<DataError>(HasSubstr("absent.parquet")));
  EXPECT_THAT(open("."), ThrowsMessage<DataError>(HasSubstr("but is a folder")));
  std::ofstream(folder / "empty.parquet").close();
  EXPECT_THAT(open("empty.parquet"), ThrowsMessage<DataError>(HasSubstr("empty.parquet")));
  std::ofstream(folder / "text.parquet") << std::string(1000, 'x');
  EXPECT_THAT(open("text.parquet"), ThrowsMessage<DataError>(HasSubstr("text.parquet")));
}

TEST(Parquet, EveryTruncationIsAnError) {
  const test::TemporaryFolder folder;
  write_parquet_file(folder / "whole.parquet", t2v(), {test::t2v_row(0), test::t2v_row(1)});
  const std::string bytes = read_file(folder / "whole.parquet");
  const fs::path cut = folder / "cut.parquet";
  for (size_t length = 0; length < bytes.size(); length += 97) {
    std::ofstream(cut, std::ios::binary | std::ios::trunc) << bytes.substr(0, length);
    EXPECT_THAT([&] { read_only_row(cut); }, ThrowsMessage<DataError>(HasSubstr("cut.parquet")))
        << length;
  }
}

TEST(Parquet, NoFlippedByteCrashesOrPassesUnseenInThePages) {
  const test::TemporaryFolder folder;
  write_parquet_file(folder / "whole.parquet", t2v(), {test::t2v_row(0), test::t2v_row(1)});
  const std::string bytes = read_file(folder / "whole.parquet");
  const ParquetRow whole = read_only_row(folder / "whole.parquet");
  const fs::path damaged = folder / "damaged.parquet";
  int64_t num_refused = 0;
  int64_t num_tried = 0;
  for (size_t place = 0; place < bytes.size(); place += 11) {
    std::string changed = bytes;
    changed[place] = static_cast<char>(changed[place] ^ 0x5a);
    std::ofstream(damaged, std::ios::binary | std::ios::trunc) << changed;
    ++num_tried;
    try {
      // What is not refused must be a byte that the rows do not depend on (statistics, the writer's
      // name, padding).
      const ParquetRow row = read_only_row(damaged);
      EXPECT_EQ(row.text("id"), whole.text("id")) << place;
      EXPECT_TRUE(at::equal(row.tensors.at("vae_latent"), whole.tensors.at("vae_latent"))) << place;
      EXPECT_TRUE(at::equal(row.tensors.at("text_embedding"), whole.tensors.at("text_embedding")))
          << place;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("damaged.parquet"));
      ++num_refused;
    }
  }
  EXPECT_GT(num_refused, num_tried / 10);
}

TEST(Parquet, ChunksAreNumberedAndWholeOnly) {
  const test::TemporaryFolder folder;
  ParquetChunkWriter writer(folder.path(), t2v(), 2, 5);
  EXPECT_EQ(writer.append(test::t2v_row(0)), std::nullopt);
  EXPECT_EQ(writer.append(test::t2v_row(1)), folder / "data_chunk_5.parquet");
  EXPECT_EQ(writer.append(test::t2v_row(2)), std::nullopt);
  EXPECT_FALSE(fs::exists(folder / "data_chunk_6.parquet"));
  EXPECT_EQ(writer.flush(), folder / "data_chunk_6.parquet");
  EXPECT_EQ(writer.flush(), std::nullopt);
  EXPECT_EQ(ParquetFile(folder / "data_chunk_6.parquet", t2v()).num_rows(), 1);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2)
      << "a temporary file was left";
}

TEST(Parquet, RowsWithoutARequiredValueAreNotWritten) {
  const test::TemporaryFolder folder;
  ParquetRow row = test::t2v_row(4);
  row.tensors.erase("vae_latent");
  EXPECT_THAT([&] { write_parquet_file(folder / "x.parquet", t2v(), {row}); },
              ThrowsMessage<DataError>(AllOf(HasSubstr("clip_4"), HasSubstr("'vae_latent'"))));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Parquet, SaysWhyWritingFailedAndLeavesNothing) {
  const test::TemporaryFolder folder;
  ParquetRow row = test::t2v_row(0);
  row.tensors["vae_latent"] = at::randn({4, 8, 32, 32});
  // A limit on the size of files stands for a full disk: write() fails in the same place.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{4096, before.rlim_max};
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THAT(
      [&] { write_parquet_file(folder / "full.parquet", t2v(), {row}); },
      ThrowsMessage<Error>(AllOf(HasSubstr("full.parquet"), HasSubstr("cannot be written"))));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(ParquetSchemas, UnknownNamesAreRefused) {
  EXPECT_THAT([] { parquet_schema("t2w"); },
              ThrowsMessage<DataError>(HasSubstr("did you mean 't2v'")));
}

}  // namespace
}  // namespace zoetrope
