#include "zoetrope/base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace zoetrope {
namespace {

void read_row() {
  fail<DataError>("row {}: must have {} frames, but has {}", 7, 81, 80);
}

void read_file_of_rows() {
  try {
    read_row();
  } catch (const DataError&) {
    std::throw_with_nested(Error("a.parquet: cannot be read"));
  }
}

TEST(Error, TheChainGoesFromTheOutsideIn) {
  try {
    try {
      read_file_of_rows();
    } catch (const Error&) {
      std::throw_with_nested(TrainingError("step 3"));
    }
  } catch (const std::exception& error) {
    EXPECT_EQ(describe_error_chain(error),
              "step 3\n"
              "  a.parquet: cannot be read\n"
              "  row 7: must have 81 frames, but has 80");
    return;
  }
  FAIL();
}

TEST(Error, OneErrorIsItsMessage) {
  EXPECT_EQ(describe_error_chain(std::runtime_error("alone")), "alone");
}

TEST(Error, FailThrowsTheAskedType) {
  EXPECT_THROW(read_row(), DataError);
  EXPECT_THROW(fail("plain"), Error);
}

}  // namespace
}  // namespace zoetrope
