#include "zoetrope/tracking/tensorboard_tracker.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/tracking/crc32c.h"

namespace zoetrope {
namespace {

using test::TemporaryFolder;
using ::testing::HasSubstr;

TEST(Crc32c, GivesTheVectorsOfRfc3720) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43U);
  std::string rising;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i);
  EXPECT_EQ(crc32c(rising), 0x46DD794EU);
  EXPECT_EQ(crc32c(std::string(rising.rbegin(), rising.rend())), 0x113FDB5CU);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
}

// A second implementation, bit by bit, so that the file is not checked with the code that wrote it.
uint32_t slow_masked_crc(const std::string& bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const unsigned char byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82F63B78 : crc >> 1;
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8;
}

template <class T>
T take(std::string& bytes) {
  T value;
  if (bytes.size() < sizeof(T)) throw std::runtime_error("file ends inside a number");
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.erase(0, sizeof(T));
  return value;
}

std::vector<std::string> read_records(const std::filesystem::path& path) {
  std::string bytes = read_file(path);
  std::vector<std::string> records;
  while (!bytes.empty()) {
    const std::string length_bytes = bytes.substr(0, 8);
    const auto length = take<uint64_t>(bytes);
    EXPECT_EQ(take<uint32_t>(bytes), slow_masked_crc(length_bytes));
    records.push_back(bytes.substr(0, length));
    bytes.erase(0, length);
    EXPECT_EQ(take<uint32_t>(bytes), slow_masked_crc(records.back()));
  }
  return records;
}

// Field number -> raw contents, one entry for each time it stands in the message.
using Message = std::multimap<uint64_t, std::string>;

uint64_t take_varint(std::string& bytes) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<uint8_t>(bytes);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
}

Message decode(std::string bytes) {
  Message message;
  while (!bytes.empty()) {
    const uint64_t key = take_varint(bytes);
    size_t size = 0;
    std::string content;
    switch (key & 7) {
      case 0: {
        const uint64_t value = take_varint(bytes);
        content.assign(reinterpret_cast<const char*>(&value), sizeof(value));
        break;
      }
      case 1:
        size = 8;
        break;
      case 2:
        size = take_varint(bytes);
        break;
      case 5:
        size = 4;
        break;
      default:
        throw std::runtime_error("unknown wire type");
    }
    if (size > bytes.size()) throw std::runtime_error("field longer than its message");
    content += bytes.substr(0, size);
    bytes.erase(0, size);
    message.emplace(key >> 3, content);
  }
  return message;
}

const std::string& field(const Message& message, uint64_t number) {
  const auto found = message.find(number);
  if (found == message.end()) throw std::runtime_error("no field " + std::to_string(number));
  return found->second;
}

template <class T>
T number(const Message& message, uint64_t field_number) {
  std::string bytes = field(message, field_number);
  return take<T>(bytes);
}

TEST(TensorboardTracker, WritesScalarsThatDecode) {
  const TemporaryFolder folder;
  TensorboardTracker tracker(folder / "tensorboard");
  EXPECT_THAT(tracker.path().filename().string(), ::testing::StartsWith("events.out.tfevents."));
  tracker.log(7, {{"total_loss", 1.25}, {"lr/student", 1e-5}});
  tracker.log(300, {{"total_loss", std::nan("")}});
  const auto records = read_records(tracker.path());
  ASSERT_EQ(records.size(), 3U);
  const Message version = decode(records[0]);
  EXPECT_EQ(field(version, 3), "brain.Event:2");
  EXPECT_GT(number<double>(version, 1), 1.6e9);
  const Message event = decode(records[1]);
  EXPECT_EQ(number<uint64_t>(event, 2), 7U);
  const Message content = decode(field(event, 5));
  ASSERT_EQ(content.count(1), 2U);
  auto value = content.find(1);
  EXPECT_EQ(field(decode(value->second), 1), "total_loss");
  EXPECT_EQ(number<float>(decode(value->second), 2), 1.25F);
  ++value;
  EXPECT_EQ(field(decode(value->second), 1), "lr/student");
  EXPECT_EQ(number<float>(decode(value->second), 2), 1e-5F);
  const Message last = decode(records[2]);
  EXPECT_EQ(number<uint64_t>(last, 2), 300U);
  EXPECT_TRUE(std::isnan(number<float>(decode(field(decode(field(last, 5)), 1)), 2)));
}

// event.proto: Event.session_log = 7, SessionLog.status = 1, START = 1. TensorBoard then leaves out
// what earlier files have from this step on.
TEST(TensorboardTracker, MarksARestart) {
  const TemporaryFolder folder;
  TensorboardTracker tracker(folder.path());
  tracker.resume_at(300);
  const auto records = read_records(tracker.path());
  ASSERT_EQ(records.size(), 2U);
  const Message restart = decode(records[1]);
  EXPECT_EQ(number<uint64_t>(restart, 2), 301U);
  EXPECT_EQ(number<uint64_t>(decode(field(restart, 7)), 1), 1U);
}

TEST(TensorboardTracker, WritesTextsAndImages) {
  const TemporaryFolder folder;
  TensorboardTracker tracker(folder.path());
  const std::string long_text(300, 'x');
  tracker.log_text(1, "config", long_text);
  const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x2c\0\0\0\x50\x08\x02\0\0\0", 29);
  write_file_atomically(folder / "a.png", png);
  tracker.log_image(2, "samples", folder / "a.png");
  const auto records = read_records(tracker.path());
  ASSERT_EQ(records.size(), 3U);
  const Message text = decode(field(decode(field(decode(records[1]), 5)), 1));
  EXPECT_EQ(field(text, 1), "config");
  EXPECT_EQ(field(decode(field(decode(field(text, 9)), 1)), 1), "text");
  const Message strings = decode(field(text, 8));
  EXPECT_EQ(number<uint64_t>(strings, 1), 7U);
  EXPECT_EQ(number<uint64_t>(decode(field(decode(field(strings, 2)), 2)), 1), 1U);
  EXPECT_EQ(field(strings, 8), long_text);
  const Message image = decode(field(decode(field(decode(field(decode(records[2]), 5)), 1)), 4));
  EXPECT_EQ(number<uint64_t>(image, 1), 80U);
  EXPECT_EQ(number<uint64_t>(image, 2), 300U);
  EXPECT_EQ(number<uint64_t>(image, 3), 3U);
  EXPECT_EQ(field(image, 4), png);
}

TEST(TensorboardTracker, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "not a folder");
  EXPECT_THROW(TensorboardTracker(folder / "file"), Error);
  TensorboardTracker tracker(folder.path());
  try {
    tracker.log_image(1, "samples", folder / "file");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("file: must be a PNG picture"));
  }
}

}  // namespace
}  // namespace zoetrope
