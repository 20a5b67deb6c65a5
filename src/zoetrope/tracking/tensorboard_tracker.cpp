#include "zoetrope/tracking/tensorboard_tracker.h"

#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <unistd.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/tracking/crc32c.h"
#include "zoetrope/tracking/protobuf_message.h"

namespace zoetrope {
namespace fs = std::filesystem;
namespace {

// Field numbers of event.proto, summary.proto, tensor.proto and tensor_shape.proto.
namespace event {
constexpr uint32_t kWallTime = 1;
constexpr uint32_t kStep = 2;
constexpr uint32_t kFileVersion = 3;
constexpr uint32_t kSummary = 5;
constexpr uint32_t kSessionLog = 7;
}  // namespace event
namespace session_log {
constexpr uint32_t kStatus = 1;
constexpr int64_t kStart = 1;
}  // namespace session_log
namespace summary {
constexpr uint32_t kValue = 1;
constexpr uint32_t kTag = 1;
constexpr uint32_t kSimpleValue = 2;
constexpr uint32_t kImage = 4;
constexpr uint32_t kTensor = 8;
constexpr uint32_t kMetadata = 9;
constexpr uint32_t kPluginData = 1;
constexpr uint32_t kPluginName = 1;
}  // namespace summary
namespace image {
constexpr uint32_t kHeight = 1;
constexpr uint32_t kWidth = 2;
constexpr uint32_t kColorspace = 3;
constexpr uint32_t kEncoded = 4;
constexpr int64_t kRgb = 3;
}  // namespace image
namespace tensor {
constexpr uint32_t kDtype = 1;
constexpr uint32_t kShape = 2;
constexpr uint32_t kStringValue = 8;
constexpr uint32_t kDimension = 2;
constexpr uint32_t kSize = 1;
constexpr int64_t kString = 7;
}  // namespace tensor

double wall_time_sec() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

ProtobufMessage make_event(int64_t step, const ProtobufMessage& content) {
  ProtobufMessage message;
  message.add_double(event::kWallTime, wall_time_sec()).add_integer(event::kStep, step);
  message.add_message(event::kSummary, content);
  return message;
}

// TensorBoard tells runs of one folder apart by these names and reads them in their order.
fs::path event_file_name() {
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return fmt::format(
      "events.out.tfevents.{:010}.{}.{}.{}",
      std::chrono::duration_cast<std::chrono::seconds>(now).count(), host, getpid(),
      std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() % 1000000000);
}

int64_t big_endian_32(std::string_view bytes) {
  int64_t value = 0;
  for (const char byte : bytes.substr(0, 4)) value = value * 256 + static_cast<unsigned char>(byte);
  return value;
}

}  // namespace

TensorboardTracker::TensorboardTracker(const fs::path& folder) : path_(folder / event_file_name()) {
  std::error_code error;
  fs::create_directories(folder, error);
  stream_.open(path_, std::ios::binary | std::ios::trunc);
  if (!stream_)
    fail("{}: must be a writable file, but cannot be opened: {}", path_.string(),
         std::strerror(errno));
  ProtobufMessage version;
  version.add_double(event::kWallTime, wall_time_sec())
      .add_bytes(event::kFileVersion, "brain.Event:2");
  write_record(version.bytes());
}

void TensorboardTracker::write_record(const std::string& record) {
  static_assert(std::endian::native == std::endian::little, "TFRecord's numbers are little-endian");
  const uint64_t length = record.size();
  const std::string_view length_bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  const uint32_t length_crc = masked_crc32c(length_bytes);
  const uint32_t record_crc = masked_crc32c(record);
  stream_ << length_bytes;
  stream_.write(reinterpret_cast<const char*>(&length_crc), sizeof(length_crc));
  stream_ << record;
  stream_.write(reinterpret_cast<const char*>(&record_crc), sizeof(record_crc));
  stream_.flush();
  if (!stream_)
    fail("{}: the metrics could not be written: {}", path_.string(), std::strerror(errno));
}

void TensorboardTracker::log(int64_t step, const std::vector<Metric>& metrics) {
  ProtobufMessage content;
  for (const Metric& metric : metrics) {
    ProtobufMessage value;
    value.add_bytes(summary::kTag, metric.name);
    value.add_float(summary::kSimpleValue, static_cast<float>(metric.value));
    content.add_message(summary::kValue, value);
  }
  write_record(make_event(step, content).bytes());
}

void TensorboardTracker::resume_at(int64_t step) {
  ProtobufMessage session;
  session.add_integer(session_log::kStatus, session_log::kStart);
  ProtobufMessage message;
  message.add_double(event::kWallTime, wall_time_sec()).add_integer(event::kStep, step + 1);
  message.add_message(event::kSessionLog, session);
  write_record(message.bytes());
}

void TensorboardTracker::log_text(int64_t step, const std::string& name, const std::string& text) {
  ProtobufMessage dimension;
  dimension.add_integer(tensor::kSize, 1);
  ProtobufMessage shape;
  shape.add_message(tensor::kDimension, dimension);
  ProtobufMessage strings;
  strings.add_integer(tensor::kDtype, tensor::kString).add_message(tensor::kShape, shape);
  strings.add_bytes(tensor::kStringValue, text);
  ProtobufMessage plugin;
  plugin.add_bytes(summary::kPluginName, "text");
  ProtobufMessage metadata;
  metadata.add_message(summary::kPluginData, plugin);
  ProtobufMessage value;
  value.add_bytes(summary::kTag, name).add_message(summary::kTensor, strings);
  value.add_message(summary::kMetadata, metadata);
  ProtobufMessage content;
  content.add_message(summary::kValue, value);
  write_record(make_event(step, content).bytes());
}

void TensorboardTracker::log_image(int64_t step, const std::string& name, const fs::path& png) {
  const std::string bytes = read_file(png);
  constexpr size_t kHeaderBytes = 24;  // signature, chunk length and name, width, height
  if (bytes.size() < kHeaderBytes || !bytes.starts_with("\x89PNG\r\n\x1a\n")) {
    fail("{}: must be a PNG picture, but its {} bytes do not start like one", png.string(),
         bytes.size());
  }
  ProtobufMessage picture;
  picture.add_integer(image::kHeight, big_endian_32(std::string_view(bytes).substr(20)));
  picture.add_integer(image::kWidth, big_endian_32(std::string_view(bytes).substr(16)));
  picture.add_integer(image::kColorspace, image::kRgb).add_bytes(image::kEncoded, bytes);
  ProtobufMessage value;
  value.add_bytes(summary::kTag, name).add_message(summary::kImage, picture);
  ProtobufMessage content;
  content.add_message(summary::kValue, value);
  write_record(make_event(step, content).bytes());
}

}  // namespace zoetrope
