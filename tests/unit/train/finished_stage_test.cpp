// Which changes a finished stage's results do not depend on.
#include "zoetrope/train/finished_stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/plain_target_table.h"
#include "support/temporary_folder.h"

namespace zoetrope {
namespace {

using test::error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct RoleConfig {
  std::string init_from;
  std::optional<std::string> enable_gradient_checkpointing_type;
  static void describe(config::Schema<RoleConfig>& schema) {
    schema.required("init_from", &RoleConfig::init_from, "Where the weights are.");
    schema.field("enable_gradient_checkpointing_type",
                 &RoleConfig::enable_gradient_checkpointing_type, "Memory against time.");
  }
};

struct IntervalConfig {
  int64_t every_steps = 1;
  static void describe(config::Schema<IntervalConfig>& schema) {
    schema.field("every_steps", &IntervalConfig::every_steps, "Steps.");
  }
};

class FinishedStage : public ::testing::Test {
 protected:
  FinishedStage() {
    models_.add<RoleConfig>("model");
    methods_.add<IntervalConfig>("method");
    for (const char* name : {"validation", "distillation_health", "action_sensitivity", "ema"})
      callbacks_.add<IntervalConfig>(name);
  }

  Stage stage(const std::vector<std::string>& overrides) const {
    const config::Node document = config::parse_yaml(R"(
models: {student: {_target_: model, init_from: Org/Name}}
method: {_target_: method}
training:
  data: {data_path: data/a, num_latent_t: 5}
  loop: {max_train_steps: 10}
  checkpoint: {output_dir: out}
callbacks: {ema: {every_steps: 4}, watch: {_target_: validation, every_steps: 4}}
stages: {first: {}}
)",
                                                     "f");
    config::Issues issues;
    auto stages = read_stages(document, config::parse_overrides(overrides),
                              {models_, methods_, callbacks_}, issues);
    issues.throw_if_any();
    return stages.front();
  }

  /// What is said of a stage that was finished with `then` and is now asked for with `now`.
  std::string fault(const std::vector<std::string>& now,
                    const std::vector<std::string>& then = {}) const {
    const test::TemporaryFolder folder;
    EXPECT_FALSE(is_finished(folder.path()));
    mark_finished(stage(then), folder.path());
    EXPECT_TRUE(is_finished(folder.path()));
    return error_of([&] { check_unchanged(stage(now), folder.path(), callbacks_); });
  }

  test::PlainTargetTable models_{"model"};
  test::PlainTargetTable methods_{"method"};
  test::PlainTargetTable callbacks_{"callback"};
};

TEST_F(FinishedStage, MayHaveBeenRunInAnotherWay) {
  const std::vector<std::string> two_ranks = {"--training.distributed.num_gpus=2",
                                              "--training.distributed.sp_size=1"};
  EXPECT_EQ(fault({}, two_ranks), "no error");
  EXPECT_EQ(fault(two_ranks), "no error");
  for (const std::string change :
       {"training.distributed.device=cpu", "training.distributed.rendezvous_timeout_sec=5",
        "training.distributed.collective_timeout_sec=5", "training.tracker.run_name=other",
        "training.checkpoint.training_state_checkpointing_steps=7",
        "training.data.dataloader_num_workers=7", "callbacks.watch.every_steps=7",
        "training.model.enable_gradient_checkpointing_type=full",
        "models.student.enable_gradient_checkpointing_type=full",
        "callbacks.action_sensitivity.every_steps=7",
        "callbacks.distillation_health.every_steps=7"}) {
    EXPECT_EQ(fault({"--" + change}), "no error") << change;
    EXPECT_EQ(fault({}, {"--" + change}), "no error") << change;
  }
}

TEST_F(FinishedStage, MustKeepWhatItsResultsDependOn) {
  for (const std::string change :
       {"training.distributed.reduce_dtype=bf16", "training.distributed.deterministic=true",
        "training.model.compute_dtype=fp32", "training.data.seed=3", "training.data.data_path=b",
        "training.loop.max_train_steps=11", "models.student.init_from=Org/Other",
        "method.every_steps=3", "callbacks.ema.every_steps=5", "callbacks.watch._target_=ema"}) {
    const std::string path = change.substr(0, change.find('='));
    EXPECT_THAT(fault({"--" + change}),
                AllOf(HasSubstr("stages.first: a finished stage must keep its config"),
                      HasSubstr(path + ": must be ")))
        << change;
  }
}

}  // namespace
}  // namespace zoetrope
