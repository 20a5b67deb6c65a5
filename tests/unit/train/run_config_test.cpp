// A whole config: FastVideo's sections and defaults, every bad input with its message, and the
// resolved config.
#include "zoetrope/train/run_config.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "zoetrope/base/error.h"
#include "zoetrope/config/overrides.h"

namespace zoetrope {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

struct PlainModelConfig {
  std::string init_from;
  bool trainable = true;
  static void describe(config::Schema<PlainModelConfig>& schema) {
    schema.required("init_from", &PlainModelConfig::init_from, "Where the weights are.");
    schema.field("trainable", &PlainModelConfig::trainable, "Whether it learns.");
  }
};

struct PlainMethodConfig {
  int64_t interval = 1;
  static void describe(config::Schema<PlainMethodConfig>& schema) {
    schema.field("interval", &PlainMethodConfig::interval, "Steps.", config::at_least(1));
  }
};

struct CausalModelConfig : PlainModelConfig {
  std::optional<int64_t> num_frames_per_block;
  static void describe(config::Schema<CausalModelConfig>& schema) {
    schema.inherit<PlainModelConfig>();
    schema.field("num_frames_per_block", &CausalModelConfig::num_frames_per_block, "Frames.");
  }
};

struct ClipConfig {
  double max_grad_norm = 1;
  static void describe(config::Schema<ClipConfig>& schema) {
    schema.field("max_grad_norm", &ClipConfig::max_grad_norm, "Norm.");
  }
};

class PlainTable : public config::TargetTable {
 public:
  using TargetTable::TargetTable;
  template <class Config>
  config::Target& add(const std::string& name, const std::string& alias) {
    return add_target({kind(), name, {alias}, "For tests.", &config::schema_of<Config>()});
  }
};

class RunConfigTest : public ::testing::Test {
 protected:
  RunConfigTest() {
    models_.add<PlainModelConfig>("package.models.PlainModel", "plain");
    methods_.add<PlainMethodConfig>("package.methods.PlainMethod", "plain");
    methods_.add<PlainMethodConfig>("package.methods.ClippedMethod", "clipped")
        .default_callbacks = {"grad_clip"};
    models_.add<CausalModelConfig>("package.models.CausalModel", "causal").causal = true;
    models_.add<PlainModelConfig>("package.models.GameModel", "game").data_type = "matrixgame2";
    methods_.add<PlainMethodConfig>("package.methods.CheckedMethod", "checked").check_run =
        [this](const void*, const config::Node& node, const config::RunFacts& run,
               const config::ReadContext& context) {
          facts_ = run;
          refuse(node, context, "must be checked");
        };
    methods_.add<PlainMethodConfig>("package.methods.DistillMethod", "distill").roles = {
        {.role = "student", .causal = true},
        {.role = "teacher", .trainable = false},
        {.role = "helper", .optional = true}};
    callbacks_.add<ClipConfig>("package.callbacks.Clip", "grad_clip");
  }

  RunConfig read(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    config::Node node = config::parse_yaml(yaml, "f");
    apply_overrides(node, overrides);
    issues_ = {};
    return read_run_config(node, {models_, methods_, callbacks_}, issues_);
  }
  std::vector<std::string> faults(const std::string& yaml,
                                  const std::vector<std::string>& overrides = {}) {
    read(yaml, overrides);
    return issues_.faults();
  }

  PlainTable models_{"model"};
  PlainTable methods_{"method"};
  PlainTable callbacks_{"callback"};
  config::Issues issues_;
  std::optional<config::RunFacts> facts_;  ///< what the checked method was told last
};

constexpr const char* kSmallest = R"(models:
  student:
    _target_: plain
    init_from: Org/Name
method:
  _target_: plain
training:
  data:
    data_path: data/a
    num_latent_t: 5
  loop:
    max_train_steps: 10
  checkpoint:
    output_dir: out
)";

TEST_F(RunConfigTest, fills_defaults_of_the_reference) {
  const RunConfig run = read(kSmallest);
  ASSERT_THAT(issues_.faults(), IsEmpty());
  const TrainingConfig& training = run.training;
  EXPECT_EQ(training.distributed.num_gpus, 1);
  EXPECT_EQ(training.distributed.sp_size, 1);
  EXPECT_EQ(training.distributed.hsdp_shard_dim, 1);
  EXPECT_EQ(training.data.train_batch_size, 1);
  EXPECT_EQ(training.data.preprocessed_data_type, "t2v");
  EXPECT_EQ(training.optimizer.learning_rate, 0.0);
  EXPECT_EQ(training.optimizer.betas.second, 0.999);
  EXPECT_EQ(training.optimizer.min_lr_ratio, 0.5);
  EXPECT_EQ(training.optimizer.lr_scheduler, "constant");
  EXPECT_EQ(training.model.logit_std, 1.0);
  EXPECT_EQ(training.model.compute_dtype, "bf16");
  EXPECT_EQ(training.model_path, "Org/Name");
  EXPECT_EQ(training.dit_precision, "fp32");
  EXPECT_FALSE(run.pipeline.flow_shift.has_value());
  EXPECT_EQ(run.models[0].first, "student");
  EXPECT_EQ(run.models[0].second.as<PlainModelConfig>().init_from, "Org/Name");
}

TEST_F(RunConfigTest, checks_the_methods_roles_before_anything_is_loaded) {
  const std::vector<std::string> distill = {"--method._target_=distill",
                                            "--training.optimizer.learning_rate=1e-5"};
  EXPECT_THAT(
      faults(kSmallest, distill),
      ElementsAre(HasSubstr("models: must have the role 'teacher', which DistillMethod needs"),
                  AllOf(HasSubstr("f:2: "), HasSubstr("models.student: must be a causal model for "
                                                      "DistillMethod, but PlainModel is "
                                                      "bidirectional"))));
  std::vector<std::string> roles = distill;
  for (const char* role : {"models.student._target_=causal", "models.teacher._target_=plain",
                           "models.teacher.init_from=Org/Teacher"}) {
    roles.push_back(std::string("--") + role);
  }
  EXPECT_THAT(
      faults(kSmallest, roles),
      ElementsAre("--models.teacher._target_: must have trainable: false for DistillMethod, but "
                  "has true"));
  roles.emplace_back("--models.teacher.trainable=false");
  EXPECT_THAT(faults(kSmallest, roles), IsEmpty());
}

TEST_F(RunConfigTest, asks_for_a_learning_rate_where_the_student_is_trained) {
  const std::vector<std::string> distill = {
      "--method._target_=distill", "--models.student._target_=causal",
      "--models.teacher._target_=plain", "--models.teacher.init_from=Org/Teacher",
      "--models.teacher.trainable=false"};
  EXPECT_THAT(
      faults(kSmallest, distill),
      ElementsAre(AllOf(HasSubstr("f:7: "),
                        HasSubstr("training.optimizer.learning_rate: must be greater than 0 for "
                                  "DistillMethod, which trains the student, but is 0"))));
  std::vector<std::string> zero = distill;
  zero.emplace_back("--training.optimizer.learning_rate=0");
  EXPECT_THAT(faults(kSmallest, zero),
              ElementsAre(HasSubstr("--training.optimizer.learning_rate: must be greater than 0")));
  EXPECT_THAT(faults(kSmallest), IsEmpty()) << "a method that trains nothing";
}

TEST_F(RunConfigTest, tells_the_method_of_the_rest_of_the_run) {
  std::vector<std::string> checked = {"--method._target_=checked",
                                      "--models.student._target_=causal"};
  EXPECT_THAT(faults(kSmallest, checked), ElementsAre(HasSubstr("method: must be checked")));
  ASSERT_TRUE(facts_.has_value());
  EXPECT_EQ(facts_->num_latent_frames, 5);
  EXPECT_TRUE(facts_->has_latents);
  EXPECT_THAT(facts_->frames_per_block, IsEmpty()) << "the checkpoint says";
  for (const char* more :
       {"models.student.num_frames_per_block=2", "models.teacher._target_=plain",
        "models.teacher.init_from=x", "training.data.preprocessed_data_type=text_only"})
    checked.push_back(std::string("--") + more);
  read(kSmallest, checked);
  EXPECT_FALSE(facts_->has_latents);
  EXPECT_THAT(facts_->frames_per_block, ElementsAre(Pair("student", 2)));
  read(kSmallest, {"--method._target_=checked", "--models.student._target_=game",
                   "--training.data.preprocessed_data_type=text_only"});
  EXPECT_TRUE(facts_->has_latents) << "a game network reads rows of games";
}

TEST_F(RunConfigTest, lists_what_does_not_fit_together_with_other_faults) {
  const std::vector<std::string> given = {
      "--method._target_=checked", "--training.distributed.num_gpus=8",
      "--training.distributed.hsdp_shard_dim=3", "--models.student._target_=plian"};
  EXPECT_THAT(faults(kSmallest, given), UnorderedElementsAre(HasSubstr("must be a known model"),
                                                             HasSubstr("must be num_gpus"),
                                                             HasSubstr("method: must be checked")));
  facts_.reset();
  faults(kSmallest, {"--method._target_=checked", "--training.data.num_latent_t=0"});
  EXPECT_FALSE(facts_.has_value()) << "clips of unknown length";
}

TEST_F(RunConfigTest, adds_the_methods_default_callbacks_unless_they_are_given) {
  EXPECT_THAT(read(kSmallest).callbacks, IsEmpty());
  const RunConfig added = read(kSmallest, {"--method._target_=clipped"});
  ASSERT_THAT(issues_.faults(), IsEmpty());
  ASSERT_EQ(added.callbacks.size(), 1U);
  EXPECT_EQ(added.callbacks[0].first, "grad_clip");
  EXPECT_EQ(added.callbacks[0].second.as<ClipConfig>().max_grad_norm, 1.0);
  // The resolved config says so, and gives the same run.
  EXPECT_EQ(write_yaml(write_run_config(read(write_yaml(write_run_config(added))))),
            write_yaml(write_run_config(added)));
  for (std::vector<std::string> given :
       {std::vector<std::string>{"--callbacks.grad_clip.max_grad_norm=7"},
        {"--callbacks.mine._target_=grad_clip", "--callbacks.mine.max_grad_norm=7"}}) {
    given.emplace_back("--method._target_=clipped");
    const RunConfig run = read(kSmallest, given);
    ASSERT_THAT(issues_.faults(), IsEmpty());
    ASSERT_EQ(run.callbacks.size(), 1U) << given.front();
    EXPECT_EQ(run.callbacks[0].second.as<ClipConfig>().max_grad_norm, 7.0);
  }
}

TEST_F(RunConfigTest, sequence_parallelism_defaults_to_all_gpus) {
  const RunConfig run = read(kSmallest, {"--training.distributed.num_gpus", "4"});
  ASSERT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(run.training.distributed.sp_size, 4);
  EXPECT_EQ(run.training.distributed.hsdp_shard_dim, 4);
}

TEST_F(RunConfigTest, keeps_explicit_zero_false_null_and_empty_list) {
  const RunConfig run =
      read(kSmallest,
           {"--training.optimizer.min_lr_ratio=0", "--training.model.logit_std=0",
            "--training.data.training_cfg_rate=0", "--training.tracker.trackers=[]",
            "--training.tracker.project_name=", "--training.checkpoint.resume_from_checkpoint=null",
            "--models.student.trainable=false", "--training.loop.max_train_steps=0"});
  ASSERT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(run.training.optimizer.min_lr_ratio, 0.0);
  EXPECT_EQ(run.training.model.logit_std, 0.0);
  EXPECT_THAT(run.training.tracker.trackers, IsEmpty());
  EXPECT_FALSE(run.training.checkpoint.resume_from_checkpoint.has_value());
  EXPECT_FALSE(run.models[0].second.as<PlainModelConfig>().trainable);
  EXPECT_EQ(run.training.loop.max_train_steps, 0);
}

TEST_F(RunConfigTest, resolved_config_reads_back_as_itself) {
  const RunConfig run =
      read(kSmallest, {"--training.distributed.num_gpus=2", "--training.data.data_path=a:2,b",
                       "--callbacks.grad_clip.max_grad_norm=0", "--pipeline.flow_shift=3"});
  ASSERT_THAT(issues_.faults(), IsEmpty());
  const std::string resolved = write_yaml(write_run_config(run));
  const RunConfig again = read(resolved);
  EXPECT_THAT(issues_.faults(), IsEmpty()) << resolved;
  EXPECT_THAT(issues_.notes(), IsEmpty());
  EXPECT_EQ(write_yaml(write_run_config(again)), resolved);
  EXPECT_THAT(resolved, HasSubstr("sp_size: 2\n"));
  EXPECT_THAT(resolved, HasSubstr("_target_: package.models.PlainModel\n"));
  EXPECT_EQ(again.callbacks[0].second.as<ClipConfig>().max_grad_norm, 0.0);
}

TEST_F(RunConfigTest, lists_missing_and_unknown_sections) {
  EXPECT_THAT(
      faults("modles: {}\n"),
      ElementsAre(
          "f:1: modles: must be a known key, but got 'modles'; did you mean 'models'?",
          "f:1: models: must be given, but is missing; Map of role to model.",
          "f:1: method: must be given, but is missing; The training method.",
          "f:1: training: must be given, but is missing; Data, optimizer and length of the run."));
  EXPECT_THAT(faults("just text\n"),
              ElementsAre("f:1: must be a map, but got the text 'just text'"));
}

TEST_F(RunConfigTest, lists_two_faults_with_their_lines) {
  std::string yaml = kSmallest;
  yaml += "  optimizer:\n    learning_rat: 1e-5\n    betas: [0.9]\n";
  EXPECT_THAT(faults(yaml), ElementsAre("f:16: training.optimizer.learning_rat: must be a known "
                                        "key, but got 'learning_rat'; did you mean "
                                        "'learning_rate'?",
                                        "f:17: training.optimizer.betas: must be two numbers in "
                                        "[0, 1), such as [0.9, 0.999], but got a list"));
}

TEST_F(RunConfigTest, names_an_override_that_is_wrong) {
  EXPECT_THAT(faults(kSmallest, {"--training.loop.max_train_stpes", "3"}),
              ElementsAre("--training.loop.max_train_stpes: must be a known key, but got "
                          "'max_train_stpes'; did you "
                          "mean 'max_train_steps'?"));
  EXPECT_THAT(
      faults(kSmallest, {"--training.data.train_batch_size", "0"}),
      ElementsAre("--training.data.train_batch_size: must be at least 1, but got the number 0"));
}

TEST_F(RunConfigTest, checks_every_component) {
  EXPECT_THAT(faults(kSmallest, {"--models.student._target_=plian"}),
              ElementsAre("--models.student._target_: must be a known model, but got 'plian'; did "
                          "you mean 'plain'?"));
  EXPECT_THAT(
      faults(kSmallest, {"--method.intervall=2", "--callbacks.grad_clpi.max_grad_norm=1"}),
      ElementsAre("--callbacks.grad_clpi.max_grad_norm: must be a known callback, but got "
                  "'grad_clpi'; did you mean "
                  "'grad_clip'?",
                  "--method.intervall: must be a known key, but got 'intervall'; did you mean "
                  "'interval'?"));
  EXPECT_THAT(
      faults("models: {teacher: {_target_: plain, init_from: x}}\nmethod: {}\ntraining: {data: "
             "{data_path: a, "
             "num_latent_t: 1}, loop: {max_train_steps: 1}, checkpoint: {output_dir: o}}"),
      ElementsAre("f:1: models: must have the role 'student', but has none of that name",
                  "f:2: method: must have a '_target_' key that names a method, but has none"));
}

TEST_F(RunConfigTest, checks_the_number_of_ranks) {
  EXPECT_THAT(
      faults(kSmallest, {"--training.distributed.num_gpus=8", "--training.distributed.tp_size=2",
                         "--training.distributed.hsdp_shard_dim=8"}),
      ElementsAre(HasSubstr("hsdp_replicate_dim * hsdp_shard_dim * tp_size must be num_gpus, but "
                            "got 1 * 8 * 2 with 8 GPUs")));
}

TEST_F(RunConfigTest, checks_the_sequence_groups) {
  EXPECT_THAT(
      faults(kSmallest, {"--training.distributed.num_gpus=8", "--training.distributed.tp_size=2",
                         "--training.distributed.sp_size=3"}),
      ElementsAre(HasSubstr("hsdp_replicate_dim * hsdp_shard_dim must be a multiple of sp_size, "
                            "but got 1 * 4 and sp_size 3")));
}

TEST_F(RunConfigTest, reads_every_form_of_data_path) {
  const auto sources = [&](const std::string& text) {
    std::string yaml = kSmallest;
    yaml.replace(yaml.find("data/a"), 6, text);
    std::vector<std::string> described;
    for (const DataSource& source : read(yaml).training.data.data_path.sources) {
      described.push_back(source.path + "*" + std::to_string(source.repeat));
    }
    EXPECT_THAT(issues_.faults(), IsEmpty());
    return described;
  };
  EXPECT_THAT(sources("data/x"), ElementsAre("data/x*1"));
  EXPECT_THAT(sources("'a:2, b ,s3://c'"), ElementsAre("a*2", "b*1", "s3://c*1"));
  EXPECT_THAT(sources("[a, 'b:2']"), ElementsAre("a*1", "b:2*1"));
  EXPECT_THAT(sources("{a: 3, b: 0}"), ElementsAre("a*3", "b*0"));
  EXPECT_THAT(faults(kSmallest, {"--training.data.data_path="}),
              ElementsAre("--training.data.data_path: must name a folder, but got the text ''"));
  EXPECT_THAT(faults(kSmallest, {"--training.data.data_path=[]"}),
              ElementsAre("--training.data.data_path: must name a folder, but got an empty list"));
}

TEST_F(RunConfigTest, reads_betas_as_text_too) {
  EXPECT_EQ(
      read(kSmallest, {"--training.optimizer.betas=0.5, 0.75"}).training.optimizer.betas.second,
      0.75);
  EXPECT_THAT(
      faults(kSmallest, {"--training.optimizer.betas=[0.9, 1.0]"}),
      ElementsAre(HasSubstr("must be two numbers in [0, 1), such as [0.9, 0.999], but got 1")));
}

TEST_F(RunConfigTest, reads_the_pipeline_from_a_file) {
  test::TemporaryFolder folder;
  std::ofstream(folder / "pipeline.json") << R"({"flow_shift": 5, "dit_config": {"sink_size": 0}})";
  const RunConfig run = read(kSmallest, {"--pipeline", (folder / "pipeline.json").string()});
  ASSERT_THAT(issues_.faults(), IsEmpty());
  EXPECT_EQ(run.pipeline.flow_shift, 5.0);
  EXPECT_EQ(run.pipeline.dit_config.sink_size, 0);
  EXPECT_THAT(
      faults(kSmallest, {"--pipeline", "absent.json"}),
      ElementsAre(
          "--pipeline: must be a map or the path of a file that holds one; absent.json: must be a "
          "config file, but there is no such file"));
}

TEST_F(RunConfigTest, notes_keys_without_effect_once) {
  read(kSmallest, {"--training.vsa.sparsity=0.9", "--training.dit_precision=bf16"});
  EXPECT_THAT(issues_.faults(), IsEmpty());
  EXPECT_THAT(
      issues_.notes(),
      ElementsAre(HasSubstr("--training.dit_precision: has no effect here: master weights are"),
                  HasSubstr("--training.vsa.sparsity: has no effect here: video sparse")));
}

TEST_F(RunConfigTest, refuses_trackers_that_contradict_or_are_not_built) {
  EXPECT_THAT(faults(kSmallest, {"--training.tracker.trackers=[none, console]"}),
              ElementsAre(HasSubstr("must be 'none' alone or trackers without it, but got both")));
  EXPECT_THAT(faults(kSmallest, {"--training.tracker.trackers=[swanlab]"}),
              ElementsAre(HasSubstr("not built yet")));
  EXPECT_THAT(faults(kSmallest, {"--training.tracker.trackers=[tensorbord]"}),
              ElementsAre(HasSubstr("mean 'tensorboard'?")));
}

}  // namespace
}  // namespace zoetrope
