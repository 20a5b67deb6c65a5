// Rows of the schemas that preprocessing writes, out of decoded clips and captions. Knows no file
// and no order of work. Source: FastVideo's preprocess_pipeline_base.py and its i2v and matrixgame2
// pipelines (contents of the columns).
#pragma once

#include <map>
#include <string>

#include "zoetrope/data/parquet_schema.h"
#include "zoetrope/data/preprocess/clip_source.h"
#include "zoetrope/data/preprocess/sample_encoder.h"

namespace zoetrope {

class RowBuilder {
 public:
  /// `schema` and `encoder` must outlive this. With `one_clip` rows are named as their videos.
  RowBuilder(const ParquetSchema& schema, SampleEncoder& encoder, double fps, bool one_clip)
      : schema_(schema), encoder_(encoder), fps_(fps), one_clip_(one_clip) {}

  /// The row of one clip. Throws Error when the encoder gives numbers that are not finite.
  ParquetRow clip_row(const SourceEntry& source, const ClipEvent& event);
  /// The row of one of the source's captions. Throws as clip_row.
  ParquetRow text_row(const SourceEntry& source, int64_t caption);

 private:
  /// Captions that come again are not encoded again.
  at::Tensor encode_text(const std::string& caption);
  void add_first_frame(const SourceEntry& source, const ClipEvent& event, ParquetRow& row);

  const ParquetSchema& schema_;
  SampleEncoder& encoder_;
  double fps_;
  bool one_clip_;
  std::map<std::string, at::Tensor> texts_;
  int64_t text_bytes_ = 0;
};

}  // namespace zoetrope
