#include "zoetrope/config/scalar.h"

#include <cmath>

#include <gtest/gtest.h>

namespace zoetrope::config {
namespace {

TEST(Scalar, reads_numbers_as_yaml_1_2_and_exponents_without_a_dot) {
  EXPECT_EQ(parse_number("1e-5"), 1e-5);
  EXPECT_EQ(parse_number("1E3"), 1000.0);
  EXPECT_EQ(parse_number("-.5"), -0.5);
  EXPECT_EQ(parse_number("+2."), 2.0);
  EXPECT_EQ(parse_number(".inf"), HUGE_VAL);
  EXPECT_EQ(parse_number("-.inf"), -HUGE_VAL);
  EXPECT_EQ(parse_number("0x10"), 16.0);
  for (const char* text :
       {"", "e5", "1e", "inf", "nan", ".nan", "1_000", "1.2.3", "--1", "+-1", " 1", "1 ", "true"}) {
    EXPECT_FALSE(parse_number(text)) << text;
  }
}

TEST(Scalar, reads_integers_and_integral_numbers) {
  EXPECT_EQ(parse_integer("007"), 7);
  EXPECT_EQ(parse_integer("-3"), -3);
  EXPECT_EQ(parse_integer("4e3"), 4000);
  EXPECT_EQ(parse_integer("2.0"), 2);
  EXPECT_EQ(parse_integer("9223372036854775807"), INT64_MAX);
  for (const char* text : {"2.5", "9223372036854775808", "1e300", ".inf", "", "x"}) {
    EXPECT_FALSE(parse_integer(text)) << text;
  }
}

TEST(Scalar, reads_booleans) {
  EXPECT_EQ(parse_bool("True"), true);
  EXPECT_EQ(parse_bool("FALSE"), false);
  for (const char* text : {"yes", "on", "tRUE", "1", ""}) EXPECT_FALSE(parse_bool(text)) << text;
}

TEST(Scalar, formats_numbers_that_read_back_exactly) {
  for (const double value : {0.0, 1.0, 0.1, 1e-5, 1.0 / 3.0, 1e300, -2.5e-8, 123456789.0}) {
    const std::string text = format_number(value);
    EXPECT_EQ(parse_number(text), value) << text;
    EXPECT_NE(text.find('.'), std::string::npos) << text;
  }
  EXPECT_EQ(format_number(1e-5), "1.0e-05");
}

}  // namespace
}  // namespace zoetrope::config
