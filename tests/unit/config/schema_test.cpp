// Typed reading: every kind of field, every kind of fault with its whole message, and all faults at
// once.
#include "zoetrope/config/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoetrope/base/error.h"

namespace zoetrope::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Inner {
  int64_t count = 4;
  static void describe(Schema<Inner>& schema) {
    schema.field("count", &Inner::count, "How many.", at_least(0));
  }
};

struct Outer {
  double rate = 0.5;
  bool flag = true;
  std::string mode = "a";
  std::optional<std::string> note = "default";
  std::vector<int64_t> steps = {1, 2};
  std::map<std::string, double> weights;
  Inner inner;
  std::string name;

  static void describe(Schema<Outer>& schema) {
    schema.field("rate", &Outer::rate, "A rate.", between(0, 1));
    schema.field("flag", &Outer::flag, "A flag.");
    schema.field("mode", &Outer::mode, "A mode.", one_of({"a", "fast", "slow"}, {"warp"}));
    schema.field("note", &Outer::note, "A note.");
    schema.field("steps", &Outer::steps, "Steps.", greater_than(0)).aliases = {"step_list"};
    schema.field("weights", &Outer::weights, "Weights.");
    schema.field("inner", &Outer::inner, "More.");
    schema.required("name", &Outer::name, "What it is called.", not_empty());
    schema.without_effect("moba", "there is no sparse attention here");
    schema.not_built("lora", "adapters");
    schema.check([](const Outer& outer, const Node& node, const ReadContext& context) {
      if (outer.mode == "fast" && outer.rate == 0)
        refuse(node, context, "must not be fast at rate 0");
    });
  }
};

struct Reading {
  Outer value;
  Issues issues;
};

Reading read(const std::string& yaml) {
  Reading reading;
  schema_of<Outer>().read(parse_yaml(yaml, "f"), &reading.value, {reading.issues, "top"});
  return reading;
}

std::vector<std::string> faults(const std::string& yaml) {
  return read(yaml).issues.faults();
}

TEST(Schema, reads_every_kind_of_field) {
  const Reading reading = read(
      "{rate: 1e-1, flag: False, mode: slow, note: null, steps: ['3', 4.0], weights: {x: 1}, "
      "inner: {count: 7}, name: 123}");
  EXPECT_THAT(reading.issues.faults(), IsEmpty());
  EXPECT_EQ(reading.value.rate, 0.1);
  EXPECT_FALSE(reading.value.flag);
  EXPECT_EQ(reading.value.mode, "slow");
  EXPECT_FALSE(reading.value.note.has_value());
  EXPECT_THAT(reading.value.steps, ElementsAre(3, 4));
  EXPECT_EQ(reading.value.weights.at("x"), 1.0);
  EXPECT_EQ(reading.value.inner.count, 7);
  EXPECT_EQ(reading.value.name, "123");
}

TEST(Schema, keeps_explicit_zero_false_null_and_empty_list) {
  const Reading reading =
      read("{rate: 0, flag: false, note: null, steps: [], inner: {count: 0}, name: x}");
  EXPECT_THAT(reading.issues.faults(), IsEmpty());
  EXPECT_EQ(reading.value.rate, 0.0);
  EXPECT_FALSE(reading.value.flag);
  EXPECT_FALSE(reading.value.note.has_value());
  EXPECT_THAT(reading.value.steps, IsEmpty());
  EXPECT_EQ(reading.value.inner.count, 0);
}

TEST(Schema, keeps_defaults_of_what_is_absent_or_an_empty_section) {
  const Reading reading = read("name: x\ninner:\n");
  EXPECT_THAT(reading.issues.faults(), IsEmpty());
  EXPECT_EQ(reading.value.rate, 0.5);
  EXPECT_EQ(reading.value.inner.count, 4);
  EXPECT_EQ(reading.value.note, "default");
}

TEST(Schema, lists_all_faults_in_the_order_of_the_file) {
  EXPECT_THAT(
      faults("mode: fats\n"
             "rat: 0.1\n"
             "rate: 2\n"
             "flag: yes\n"
             "steps: [1, x]\n"
             "inner:\n"
             "  count: 1.5\n"
             "  cuont: 1\n"),
      ElementsAre(
          "f:1: top.mode: must be one of a, fast, slow, but got the text 'fats'; did you mean "
          "'fast'?",
          "f:1: top.name: must be given, but is missing; What it is called.",
          "f:2: top.rat: must be a known key, but got 'rat'; did you mean 'rate'?",
          "f:3: top.rate: must be between 0 and 1, but got the number 2",
          "f:4: top.flag: must be true or false, but got the text 'yes'",
          "f:5: top.steps[1]: must be an integer, but got the text 'x'",
          "f:7: top.inner.count: must be an integer, but got the number 1.5",
          "f:8: top.inner.cuont: must be a known key, but got 'cuont'; did you mean 'count'?"));
}

TEST(Schema, says_what_came_instead) {
  EXPECT_THAT(faults("{name: x, rate: []}"),
              ElementsAre("f:1: top.rate: must be a number, but got an empty list"));
  EXPECT_THAT(faults("{name: x, rate: null}"),
              ElementsAre("f:1: top.rate: must be a number, but got null"));
  EXPECT_THAT(faults("{name: x, rate: .nan}"),
              ElementsAre("f:1: top.rate: must be a number, but got the text '.nan'"));
  EXPECT_THAT(faults("{name: x, steps: 3}"),
              ElementsAre("f:1: top.steps: must be a list, but got the number 3"));
  EXPECT_THAT(faults("{name: x, inner: 3}"),
              ElementsAre("f:1: top.inner: must be a map, but got the number 3"));
  EXPECT_THAT(faults("{name: x, steps: [true]}"),
              ElementsAre("f:1: top.steps[0]: must be an integer, but got true"));
  EXPECT_THAT(
      faults("{name: true}"),
      ElementsAre(
          "f:1: top.name: must be text, but got true; write \"true\" if that text is meant"));
  EXPECT_THAT(faults("{name: ''}"),
              ElementsAre("f:1: top.name: must be not empty, but got the text ''"));
  EXPECT_THAT(faults("{name: x, steps: [1, 0]}"),
              ElementsAre("f:1: top.steps: must be greater than 0, but got the number 0"));
  EXPECT_THAT(faults("[1]"), ElementsAre("f:1: top: must be a map, but got a list"));
  EXPECT_THAT(faults("{name: x, zzzzzz: 1}"),
              ElementsAre("f:1: top.zzzzzz: must be a known key, but got 'zzzzzz'; known are rate, "
                          "flag, mode, note, "
                          "steps, weights, inner, name, moba"));
}

TEST(Schema, accepts_aliases_once) {
  EXPECT_THAT(read("{name: x, step_list: [5]}").value.steps, ElementsAre(5));
  EXPECT_THAT(
      faults("{name: x, steps: [5], step_list: [6]}"),
      ElementsAre("f:1: top.step_list: must be given once, but 'steps' already says the same"));
}

TEST(Schema, checks_across_fields) {
  EXPECT_THAT(faults("{name: x, mode: fast, rate: 0}"),
              ElementsAre("f:1: top: must not be fast at rate 0"));
}

struct Whole {
  Outer part;
  static void describe(Schema<Whole>& schema) {
    schema.field("part", &Whole::part, "A part.");
    schema.check([](const Whole& whole, const Node& node, const ReadContext& context) {
      if (whole.part.rate == 0) refuse(node, context, "must not stand still");
    });
  }
};

TEST(Schema, checks_of_a_struct_and_of_its_parts_are_listed_together) {
  const auto all = [](const std::string& yaml) {
    Issues issues;
    Whole whole;
    schema_of<Whole>().read(parse_yaml(yaml, "f"), &whole, {issues, "top"});
    return issues.faults();
  };
  EXPECT_THAT(
      all("part: {name: x, mode: fast, rate: 0}"),
      ElementsAre("f:1: top.part: must not be fast at rate 0", "f:1: top: must not stand still"));
  EXPECT_THAT(all("part: {name: x, mode: fats, rate: 0}"), ElementsAre(HasSubstr("top.part.mode")))
      << "a value that was not taken";
}

TEST(Schema, notes_keys_without_effect) {
  const Reading reading = read("{name: x, moba: {a: 1}}");
  EXPECT_THAT(reading.issues.faults(), IsEmpty());
  EXPECT_THAT(reading.issues.notes(),
              ElementsAre("f:1: top.moba: has no effect here: there is no sparse attention here"));
}

TEST(Schema, refuses_keys_that_are_not_built) {
  EXPECT_THAT(
      faults("{name: x, lora: {}}"),
      ElementsAre("f:1: top.lora: must not be given, because it is not built yet: adapters"));
}

TEST(Schema, takes_null_for_a_key_that_is_not_built) {
  EXPECT_THAT(faults("{name: x, lora: null}"), IsEmpty());
}

TEST(Schema, refuses_choices_that_are_not_built) {
  EXPECT_THAT(faults("{name: x, mode: warp}"),
              ElementsAre("f:1: top.mode: must be one of a, fast, slow, but got the text 'warp', "
                          "which is not built yet"));
}

TEST(Schema, writes_what_it_reads) {
  Outer outer;
  outer.name = "true";
  outer.note.reset();
  outer.rate = 1e-5;
  const Node written = schema_of<Outer>().write(&outer);
  Reading reading;
  schema_of<Outer>().read(parse_yaml(write_yaml(written), "f"), &reading.value,
                          {reading.issues, ""});
  EXPECT_THAT(reading.issues.faults(), IsEmpty());
  EXPECT_EQ(reading.value.name, "true");
  EXPECT_EQ(reading.value.rate, 1e-5);
  EXPECT_FALSE(reading.value.note.has_value());
  EXPECT_EQ(write_yaml(schema_of<Outer>().write(&reading.value)), write_yaml(written));
}

TEST(Issues, throws_one_error_with_every_fault) {
  Issues issues;
  EXPECT_NO_THROW(issues.throw_if_any());
  issues.add({"f", 9}, "b", "must x");
  issues.add({"f", 2}, "a", "must y");
  issues.add({"f", 2}, "a", "must y");
  try {
    issues.throw_if_any();
    FAIL() << "must throw";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "the config has 2 faults:\n  f:2: a: must y\n  f:9: b: must x");
  }
}

}  // namespace
}  // namespace zoetrope::config
