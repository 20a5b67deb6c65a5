// A whole run on the fake model: real data, loader, method, trainer and checkpoints.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "support/fake_model.h"
#include "support/recording_tracker.h"
#include "zoetrope/methods/fine_tuning/fine_tune_method.h"
#include "zoetrope/train/trainer.h"

namespace zoetrope::test {

/// Each has its own data (ten recorded rows of the reference), method and callbacks.
struct FakeRun {
  explicit FakeRun(int64_t batch_size)
      : random(3),
        dataset({{std::string(ZOETROPE_SOURCE_DIR) + "/tests/golden/reference/_data/t2v", 1}},
                parquet_schema("t2v")) {
    SampleOrderOptions order;
    order.seed = 7;
    order.batch_size = batch_size;
    loader = std::make_unique<DataLoader>(dataset, order, LoaderOptions{});
    method = std::make_unique<FineTuneMethod>(FineTuneConfig{}, method_context());
    checkpoints.checkpoint.output_dir = "unused";
  }

  /// With a student of its own.
  MethodContext method_context() {
    MethodContext context;
    context.roles.add("student", std::make_unique<FakeModel>(random));
    context.optimizer.learning_rate = 0.05;
    context.max_train_steps = 3;
    context.random = &random;
    return context;
  }

  void train(int64_t num_steps, int64_t accumulation) {
    RunCheckpoints run_checkpoints(checkpoints);
    Trainer trainer({num_steps, accumulation},
                    {*method, *loader, callbacks, tracker, run_checkpoints});
    trainer.run();
  }

  FakeModel& model() { return dynamic_cast<FakeModel&>(method->student()); }
  at::Tensor weights() { return method->student().parameters().groups()[0].flat_master.clone(); }

  KeyedRandomSource random;
  ParquetDataset dataset;
  std::unique_ptr<DataLoader> loader;
  std::unique_ptr<TrainingMethod> method;
  NamedCallbacks callbacks;
  RecordingTracker tracker;
  RunCheckpoints::Options checkpoints;
};

}  // namespace zoetrope::test
