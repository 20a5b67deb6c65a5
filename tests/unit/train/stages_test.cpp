// A config with `stages`: what each stage is read as, every fault with its message, and the
// resolved config.
#include "zoetrope/train/stages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/plain_target_table.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/train/stage_start.h"

namespace zoetrope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct AdapterConfig {
  bool enable = false;
  std::optional<std::string> init_from;
  static void describe(config::Schema<AdapterConfig>& schema) {
    schema.field("enable", &AdapterConfig::enable, "Whether there are adapters.");
    schema.field("init_from", &AdapterConfig::init_from, "Where they are.");
  }
};

struct RoleConfig {
  std::string init_from;
  bool trainable = true;
  std::optional<std::string> transformer_override_safetensor;
  AdapterConfig lora;
  static void describe(config::Schema<RoleConfig>& schema) {
    schema.required("init_from", &RoleConfig::init_from, "Where the weights are.");
    schema.field("trainable", &RoleConfig::trainable, "Whether it learns.");
    schema.field("transformer_override_safetensor", &RoleConfig::transformer_override_safetensor,
                 "Other weights.");
    schema.field("lora", &RoleConfig::lora, "Adapters.");
  }
};

struct FirstConfig {
  int64_t chunk = 3;
  static void describe(config::Schema<FirstConfig>& schema) {
    schema.field("chunk", &FirstConfig::chunk, "Frames.", config::at_least(1));
  }
};

struct SecondConfig {
  int64_t interval = 1;
  static void describe(config::Schema<SecondConfig>& schema) {
    schema.field("interval", &SecondConfig::interval, "Steps.", config::at_least(1));
  }
};

struct AverageConfig {
  int64_t start_iter = 0;
  static void describe(config::Schema<AverageConfig>& schema) {
    schema.field("start_iter", &AverageConfig::start_iter, "First step.");
  }
};

class Stages : public ::testing::Test {
 protected:
  Stages() {
    models_.add<RoleConfig>("wide");
    models_.add<RoleConfig>("causal");
    methods_.add<FirstConfig>("first");
    methods_.add<SecondConfig>("second");
    callbacks_.add<AverageConfig>("ema");
  }

  TargetTables tables() const { return {models_, methods_, callbacks_}; }
  std::vector<Stage> read(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    issues_ = {};
    return read_stages(config::parse_yaml(yaml, "f"), config::parse_overrides(overrides), tables(),
                       issues_);
  }
  std::vector<std::string> faults(const std::string& yaml,
                                  const std::vector<std::string>& overrides = {}) {
    read(yaml, overrides);
    return issues_.faults();
  }
  static const RoleConfig& role(const Stage& stage, const std::string& name) {
    for (const auto& [role, model] : stage.config.models) {
      if (role == name) return model.as<RoleConfig>();
    }
    throw std::runtime_error("no role " + name);
  }

  test::PlainTargetTable models_{"model"};
  test::PlainTargetTable methods_{"method"};
  test::PlainTargetTable callbacks_{"callback"};
  config::Issues issues_;
};

constexpr const char* kTwo = R"(models:
  student: {_target_: wide, init_from: Org/Name}
method: {_target_: first, chunk: 5}
training:
  data: {data_path: data/a, num_latent_t: 5}
  loop: {max_train_steps: 10}
  checkpoint: {output_dir: out}
callbacks:
  ema: {start_iter: 4}
stages:
  start: {}
  end:
    models:
      teacher: {_target_: wide, init_from: Org/Teacher, trainable: false}
    method: {_target_: second, interval: 2}
    training: {loop: {max_train_steps: 20}}
)";

std::string with(const std::string& from, const std::string& to) {
  std::string text = kTwo;
  return text.replace(text.find(from), from.size(), to);
}

TEST_F(Stages, a_plain_config_is_one_stage_without_a_name) {
  const std::string plain = with(std::string(kTwo).substr(std::string(kTwo).find("stages:")), "");
  const auto stages = read(plain, {"--training.loop.max_train_steps=3"});
  ASSERT_THAT(issues_.faults(), IsEmpty());
  ASSERT_EQ(stages.size(), 1);
  EXPECT_EQ(stages[0].name, "");
  EXPECT_EQ(stages[0].config.training.loop.max_train_steps, 3);
  EXPECT_EQ(write_yaml(write_stages(stages)), write_yaml(write_run_config(stages[0].config)));
  EXPECT_THAT(faults(plain, {"--models.student.init_from=stage:start"}),
              ElementsAre("--models.student.init_from: must be a folder or a Hugging Face name, "
                          "but got 'stage:start' and the config has no `stages`"));
}

TEST_F(Stages, are_laid_over_the_base_and_start_from_each_other) {
  const auto stages = read(kTwo);
  ASSERT_THAT(issues_.faults(), IsEmpty());
  ASSERT_EQ(stages.size(), 2);
  EXPECT_EQ(stages[0].name, "start");
  EXPECT_EQ(stages[1].name, "end");
  EXPECT_EQ(role(stages[0], "student").init_from, "Org/Name");
  EXPECT_EQ(role(stages[1], "student").init_from, "stage:start");
  EXPECT_EQ(role(stages[1], "teacher").init_from, "Org/Teacher");
  EXPECT_EQ(stages[0].config.method.as<FirstConfig>().chunk, 5);
  EXPECT_EQ(stages[1].config.method.as<SecondConfig>().interval, 2);
  EXPECT_EQ(stages[0].config.training.loop.max_train_steps, 10);
  EXPECT_EQ(stages[1].config.training.loop.max_train_steps, 20);
  EXPECT_EQ(stages[1].config.training.data.num_latent_t, 5);
}

TEST_F(Stages, take_their_own_start_or_the_average_or_another_model) {
  const auto stages = read(with("    models:\n",
                                "    models:\n      student: {init_from: 'stage:start:ema'}\n"
                                "      critic: {_target_: wide, init_from: 'stage:start'}\n"));
  EXPECT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(role(stages[1], "student").init_from, "stage:start:ema");
  EXPECT_EQ(role(stages[1], "critic").init_from, "stage:start");
  const auto causal =
      read(with("    models:\n", "    models:\n      student: {_target_: causal}\n"));
  EXPECT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(role(causal[1], "student").init_from, "stage:start");
}

TEST_F(Stages, do_not_inherit_weights_that_would_replace_the_start) {
  const auto stages =
      read(with("init_from: Org/Name", "init_from: Org/Name, transformer_override_safetensor: a"));
  ASSERT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(role(stages[0], "student").transformer_override_safetensor, "a");
  EXPECT_FALSE(role(stages[1], "student").transformer_override_safetensor.has_value());
}

TEST_F(Stages, overrides_hold_for_all_or_for_one) {
  const auto stages = read(
      kTwo, {"--stages.end.training.loop.max_train_steps=7", "--training.loop.max_train_steps=8",
             "--training.data.seed=3", "--models.student.init_from=Other/Name"});
  ASSERT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(stages[0].config.training.loop.max_train_steps, 8);
  EXPECT_EQ(stages[1].config.training.loop.max_train_steps, 7);
  EXPECT_EQ(stages[1].config.training.data.seed, 3);
  EXPECT_EQ(role(stages[0], "student").init_from, "Other/Name");
  EXPECT_EQ(role(stages[1], "student").init_from, "stage:start");
  EXPECT_EQ(
      read(kTwo, {"--training.loop.max_train_steps=8"})[1].config.training.loop.max_train_steps, 8);
}

TEST_F(Stages, null_takes_a_section_of_the_base_away) {
  const auto stages = read(kTwo, {"--stages.end.callbacks.ema=null"});
  ASSERT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(stages[0].config.callbacks.size(), 1);
  EXPECT_THAT(stages[1].config.callbacks, IsEmpty());
  EXPECT_THAT(read(with("  end:\n", "  end:\n    callbacks: {ema: null}\n"))[1].config.callbacks,
              IsEmpty());
}

TEST_F(Stages, the_resolved_config_reads_back_as_itself) {
  const std::string resolved = write_yaml(write_stages(read(kTwo)));
  EXPECT_THAT(resolved, HasSubstr("init_from: stage:start\n"));
  const auto again = read(resolved);
  EXPECT_THAT(issues_.faults(), IsEmpty()) << resolved;
  EXPECT_EQ(write_yaml(write_stages(again)), resolved);
  EXPECT_EQ(stage_folder(again, 1), "out/02-end");
}

TEST_F(Stages, become_runs_in_folders_of_their_own) {
  const test::TemporaryFolder folder;
  const std::string root = (folder / "out").string();
  const auto stages =
      read(with("    models:\n", "    models:\n      student: {init_from: 'stage:start:ema'}\n"),
           {"--training.checkpoint.output_dir=" + root});
  ASSERT_THAT(issues_.faults(), IsEmpty());
  std::filesystem::create_directories(root + "/02-end/checkpoint-3");
  const RunConfig first = stage_run(stages, 0, tables());
  EXPECT_EQ(first.training.checkpoint.output_dir, root + "/01-start");
  EXPECT_FALSE(first.training.checkpoint.resume_from_checkpoint.has_value());
  EXPECT_EQ(first.training.tracker.run_name, "out-start");
  const RunConfig second = stage_run(stages, 1, tables());
  EXPECT_EQ(second.training.checkpoint.output_dir, root + "/02-end");
  EXPECT_EQ(second.training.checkpoint.resume_from_checkpoint, "latest");
  EXPECT_EQ(second.models[0].second.as<RoleConfig>().init_from, root + "/01-start/diffusers_ema");
}

TEST_F(Stages, adapters_go_on_as_adapters) {
  const std::string lora = with("init_from: Org/Name", "init_from: Org/Name, lora: {enable: true}");
  EXPECT_THAT(faults(lora),
              ElementsAre("f:2: models.student.init_from: must name a stage that exports a model, "
                          "but 'start' trains adapters; start from its own model and give them as "
                          "lora.init_from: stage:start (stage 'end')"));
  const std::vector<std::string> overrides = {
      "--stages.end.models.student.init_from=Org/Name",
      "--stages.end.models.student.lora.init_from=stage:start",
      "--training.checkpoint.output_dir=out"};
  const auto stages = read(lora, overrides);
  ASSERT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(stage_run(stages, 1, tables()).models[0].second.as<RoleConfig>().lora.init_from,
            "out/01-start/lora");
  EXPECT_THAT(faults(kTwo, overrides),
              ElementsAre("--stages.end.models.student.lora.init_from: must name a stage that "
                          "trains adapters, but 'start' trains the whole network (stage 'end')"));
}

TEST_F(Stages, faults_of_all_stages_are_listed_at_once) {
  EXPECT_THAT(
      faults(with("interval: 2", "interval: 0"),
             {"--stages.start.method.chnuk=1", "--training.data.num_latent_t=0"}),
      ElementsAre("--stages.start.method.chnuk: must be a known key, but got 'chnuk'; did you mean "
                  "'chunk'? (stage 'start')",
                  "--training.data.num_latent_t: must be at least 1, but got the number 0",
                  "f:15: method.interval: must be at least 1, but got the number 0 (stage 'end')"));
  EXPECT_THAT(faults(with("  loop: {max_train_steps: 10}\n", "")),
              ElementsAre("f:4: training.loop: must be given, but is missing; Length of the run. "
                          "(stage 'start')"));
}

TEST_F(Stages, refuse_what_is_no_list_of_stages) {
  const auto stages_are = [](const std::string& text) {
    const std::string all = kTwo;
    return all.substr(0, all.find("stages:")) + text;
  };
  EXPECT_THAT(faults(stages_are("stages: {}\n")),
              ElementsAre("f:10: stages: must be a map of stage name to the sections that differ, "
                          "but got an empty map"));
  EXPECT_THAT(faults(stages_are("stages: [a]\n")), ElementsAre(HasSubstr("but got a list")));
  EXPECT_THAT(faults(stages_are("stages: {a: 3}\n")),
              ElementsAre("f:10: stages.a: must be a map, but got the number 3"));
  EXPECT_THAT(faults(stages_are("stages: {a/b: {}}\n")),
              ElementsAre("f:10: stages.a/b: must have a name of letters, digits, '_' and '-', "
                          "since it becomes a folder's"));
}

TEST_F(Stages, refuse_wrong_references) {
  const auto start = [&](const std::string& reference) {
    return faults(kTwo, {"--stages.start.models.student.init_from=" + reference});
  };
  const std::string path = "--stages.start.models.student.init_from: ";
  EXPECT_THAT(start("stage:end"),
              ElementsAre(path + "must name an earlier stage, but 'end' is a later one "
                                 "(stage 'start')"));
  EXPECT_THAT(start("stage:start"),
              ElementsAre(path + "must name an earlier stage, but 'start' is this one "
                                 "(stage 'start')"));
  EXPECT_THAT(start("stage:strat"),
              ElementsAre(path + "must name an earlier stage, but there is no stage 'strat'; did "
                                 "you mean 'start'? (stage 'start')"));
  EXPECT_THAT(start("stage:start:avg"),
              ElementsAre(path + "must be stage:<name> or stage:<name>:ema, but got "
                                 "'stage:start:avg' (stage 'start')"));
}

TEST_F(Stages, refuse_an_average_that_is_not_there) {
  const std::string average = "--stages.end.models.student.init_from=stage:start:ema";
  EXPECT_THAT(faults(kTwo, {average, "--callbacks.ema.start_iter=11"}),
              ElementsAre("--stages.end.models.student.init_from: must name a stage that averages "
                          "weights, but in 'start' ema.start_iter is 11 and "
                          "training.loop.max_train_steps 10 (stage 'end')"));
  EXPECT_THAT(faults(with("  start: {}", "  start: {callbacks: {ema: null}}"), {average}),
              ElementsAre("--stages.end.models.student.init_from: must name a stage with the "
                          "callback 'ema', but 'start' has none (stage 'end')"));
}

TEST_F(Stages, refuse_what_belongs_to_the_whole_run) {
  EXPECT_THAT(faults(kTwo, {"--stages.end.training.checkpoint.output_dir=x"}),
              ElementsAre("--stages.end.training.checkpoint.output_dir: must be given for the "
                          "whole run, outside of `stages`"));
  EXPECT_THAT(faults(kTwo, {"--training.checkpoint.resume_from_checkpoint=out/checkpoint-3"}),
              ElementsAre(HasSubstr("must be `latest` or absent in a config with `stages`")));
  EXPECT_THAT(faults(kTwo, {"--training.checkpoint.resume_from_checkpoint=latest"}), IsEmpty());
}

TEST_F(Stages, refuse_overrides_of_unknown_stages) {
  EXPECT_THAT(faults(kTwo, {"--stages.edn.training.loop.max_train_steps=3"}),
              ElementsAre("--stages.edn.training.loop.max_train_steps: must be "
                          "--stages.<name>.<section>.<key> with the name of a stage, but got "
                          "'stages.edn.training.loop.max_train_steps'; did you mean 'end'?"));
  EXPECT_THAT(faults(kTwo, {"--stages.end=3"}), ElementsAre(HasSubstr("but got 'stages.end'")));
  EXPECT_THAT(faults(kTwo, {"--stages=3"}), ElementsAre(HasSubstr("but got 'stages'")));
}

}  // namespace
}  // namespace zoetrope
