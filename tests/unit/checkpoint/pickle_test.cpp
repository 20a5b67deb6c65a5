#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/checkpoint/pickle_described.h"
#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/pickle/reader.h"
#include "zoetrope/checkpoint/pickle/writer.h"

namespace zoetrope {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

const PickleGlobals kGlobals = {"collections.OrderedDict",
                                "_codecs.encode",
                                "__builtin__.set",
                                "__builtin__.bytes",
                                "builtins.set",
                                "builtins.bytes",
                                "torch.Size"};

PickleValue read(const std::string& bytes, PickleLimits limits = {}) {
  return read_pickle(bytes, "file.pkl", kGlobals, limits);
}

std::string error_of(const std::string& bytes, PickleLimits limits = {}) {
  try {
    read(bytes, limits);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no error";
}

// The cases were pickled by CPython (tools/reference/make_dcp_golden.py).
TEST(Pickle, ReadsWhatPythonWritesInProtocols2To5) {
  const auto cases = test::read_json(test::checkpoint_golden() / "pickles.json");
  ASSERT_GE(cases.size(), 40U);
  for (const auto& golden : cases) {
    const PickleValue value = read(test::bytes_of_hex(golden["hex"]));
    EXPECT_EQ(test::described(value), golden["value"]) << golden["name"];
  }
}

TEST(Pickle, WritesWhatItReads) {
  for (const auto& golden : test::read_json(test::checkpoint_golden() / "pickles.json")) {
    const PickleValue value = read(test::bytes_of_hex(golden["hex"]));
    EXPECT_EQ(read(write_pickle(value)), value) << golden["name"];
  }
}

TEST(Pickle, KeepsObjectsAsNamesArgumentsAndState) {
  const PickleValue size = PickleValue::call("torch.Size", {PickleValue::int_tuple({2, 3})});
  const PickleValue instance =
      PickleValue::instance("torch.Size", PickleValue::dict({{PickleValue::string("a"), size}}));
  const PickleValue again = read(write_pickle(PickleValue::list({size, instance, instance})));
  EXPECT_EQ(again, PickleValue::list({size, instance, instance}));
  const PickleObject& object = again.as_elements()[1].as_object_of("torch.Size");
  EXPECT_FALSE(object.called);
  EXPECT_EQ(object.state.at("a").as_object().arguments().front(), PickleValue::int_tuple({2, 3}));
}

TEST(Pickle, AccessorsSayWhatTheValueIs) {
  const PickleValue value = PickleValue::string("seven");
  EXPECT_THROW(value.as_integer(), CheckpointError);
  try {
    value.as_entries();
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_STREQ(error.what(), "the pickled value must be a dict, but is the string 'seven'");
  }
  EXPECT_EQ(PickleValue::integer(2).as_real(), 2.0);
}

TEST(PickleHostile, CallsNothing) {
  EXPECT_EQ(error_of("\x80\x02"
                     "cos\nsystem\nX\x04\0\0\0true\x85R."s),
            "file.pkl: pickle, byte 13 of 25: mentions 'os.system', which is not on the list of "
            "names that such a file may use; nothing was executed");
  EXPECT_THAT(error_of("\x80\x04\x8c\x08"
                       "builtins\x8c\x04"
                       "eval\x93."s),
              HasSubstr("mentions 'builtins.eval'"));
}

TEST(PickleHostile, UnknownOpcode) {
  EXPECT_EQ(
      error_of("\x80\x02S'text'\n."s),
      "file.pkl: pickle, byte 3 of 11: the opcode must be one that torch writes, but is 0x53");
  for (const char opcode : {'P', 'i', 'o', 'd', 'l', 'I', 'F', 'V', '\x82', '\x92', '\x97'})
    EXPECT_THAT(error_of("\x80\x02N"s + opcode), HasSubstr("the opcode must be one"));
}

TEST(PickleHostile, WrongProtocol) {
  EXPECT_THAT(error_of("\x80\x09N."s), HasSubstr("the protocol must be 2 to 5, but is 9"));
}

TEST(PickleHostile, LengthsBeyondTheEnd) {
  EXPECT_THAT(error_of("\x80\x02X\xff\xff\xff\xffx."s), HasSubstr("needs 4294967295 more bytes"));
  EXPECT_THAT(error_of("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffx."s), HasSubstr("truncated"));
  EXPECT_THAT(error_of("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN."s), HasSubstr("truncated"));
  EXPECT_THAT(error_of("\x80\x02\x8a\xff."s), HasSubstr("an int must fit into 64 bits"));
}

TEST(PickleHostile, DeepNesting) {
  EXPECT_THAT(error_of("\x80\x02"s + std::string(100000, '(') + "N."), HasSubstr("byte"));
  EXPECT_THAT(error_of("\x80\x02N"s + std::string(100000, '\x85') + "."),
              HasSubstr("nest at most 100"));
}

TEST(PickleHostile, SharedReferencesThatGrowWithoutEnd) {
  // Each level is a tuple of two of the level before: 2^60 values in a few hundred bytes.
  std::string bomb = "\x80\x02N"s;
  for (char level = 0; level < 60; ++level) bomb += "q"s + level + "h" + level + "\x86";
  EXPECT_THAT(error_of(bomb + "."), HasSubstr("its shared ones make more"));
}

TEST(PickleHostile, SharedListThatIsCopiedWithoutEnd) {
  PickleLimits limits;
  limits.num_values = 10'000;
  std::string bomb = "\x80\x02]q\x00("s + std::string(1000, 'N') + "ec__builtin__\nset\nq\x01";
  for (int i = 0; i < 100; ++i) bomb += "h\x01h\x00\x85R"s;
  EXPECT_THAT(error_of(bomb + ".", limits), HasSubstr("at most 10000 values, but holds more"));
}

TEST(PickleHostile, ValuesThatContainThemselves) {
  EXPECT_THAT(error_of("\x80\x02]q\x00h\x00"
                       "a."s),
              HasSubstr("must not contain themselves"));
  EXPECT_THAT(error_of("\x80\x02}q\x00Nh\x00s."s), HasSubstr("must not contain themselves"));
}

TEST(PickleHostile, StackFaults) {
  EXPECT_THAT(error_of("\x80\x02."s), HasSubstr("needs a value on the stack"));
  EXPECT_THAT(error_of("\x80\x02NN."s), HasSubstr("must end with one value, but leaves 1 more"));
  EXPECT_THAT(error_of("\x80\x02Nt."s), HasSubstr("needs a mark"));
  EXPECT_THAT(error_of("\x80\x02(N."s), HasSubstr("must end with one value"));
  EXPECT_THAT(error_of("\x80\x02NN\x87."s), HasSubstr("needs 3 values"));
  EXPECT_THAT(error_of("\x80\x02}(Nu."s), HasSubstr("keys and values in pairs"));
  EXPECT_THAT(error_of("\x80\x02NNa."s), HasSubstr("a list, set or dict to add to"));
  EXPECT_THAT(error_of("\x80\x02NNb."s), HasSubstr("a state must be set on an object"));
  EXPECT_THAT(error_of("\x80\x02N)R."s), HasSubstr("an object must be made of a name"));
  EXPECT_THAT(error_of("\x80\x02h\x07."s), HasSubstr("refers to the value 7"));
  EXPECT_THAT(error_of("\x80\x02N.N"s), HasSubstr("but 1 bytes follow"));
  EXPECT_THAT(error_of("\x80\x04NN\x93."s), HasSubstr("named by two strings"));
  EXPECT_THAT(error_of("\x80\x02"
                       "ctorch"s),
              HasSubstr("needs a line of text"));
}

TEST(PickleHostile, TruncatedAtEveryByte) {
  for (const auto& golden : test::read_json(test::checkpoint_golden() / "pickles.json")) {
    const std::string bytes = test::bytes_of_hex(golden["hex"]);
    for (size_t length = 0; length < bytes.size(); ++length)
      ASSERT_THAT(error_of(bytes.substr(0, length)), HasSubstr("file.pkl: pickle, byte"));
  }
}

}  // namespace
}  // namespace zoetrope
