#include "golden/training/recorded_trajectories.h"

#include "zoetrope/base/file.h"
#include "zoetrope/data/dataset.h"
#include "zoetrope/data/sample_order.h"

namespace zoetrope::test {
namespace {

using nlohmann::json;

constexpr int64_t kTextLength = 512;

/// The trace has texts without their padding.
at::Tensor padded(const at::Tensor& text_LD) {
  return at::constant_pad_nd(text_LD, {0, 0, 0, kTextLength - text_LD.size(0)});
}

/// The batches of all steps, in order.
std::vector<json> batch_keys(const json& steps) {
  std::vector<json> keys;
  for (const json& step : steps) {
    for (const json& event : step["events"]) {
      if (event["kind"] == "batch") keys.push_back(event["keys"]);
    }
  }
  return keys;
}

/// What the reference's cache says of itself, and says nothing of.
TrajectoryRecipe recipe_of(const RunConfig& config, const at::Tensor& timesteps_S) {
  TrajectoryRecipe recipe;
  recipe.num_steps = timesteps_S.size(0);
  recipe.num_rows = num_recorded_rows(config);
  return recipe;
}

}  // namespace

bool has_trajectories(const GoldenCase& golden) {
  return golden.contains("s1.batch.a0.trajectory_latents");
}

int64_t num_recorded_rows(const RunConfig& config) {
  return ParquetDataset(config.training.data.data_path.sources, parquet_schema("t2v")).num_rows();
}

std::map<int64_t, Trajectory> recorded_trajectories(const GoldenCase& golden,
                                                    const RunConfig& config) {
  std::map<int64_t, Trajectory> trajectories;
  const DataConfig& data = config.training.data;
  SampleOrder order(num_recorded_rows(config), {.kind = SampleOrderKind::kFastVideo,
                                                .seed = data.seed,
                                                .batch_size = data.train_batch_size});
  int64_t start = 0;
  for (const json& keys : batch_keys(golden.json()["steps"])) {
    for (int64_t i = 0; const SampleSlot& sample : order.batch_at(start)) {
      const auto row = [&](const char* name) { return golden.tensor(keys[name])[i]; };
      trajectories[sample.row] = {row("trajectory_latents"), row("trajectory_timesteps"),
                                  row("real"), padded(row("text_embedding")),
                                  row("text_attention_mask")};
      ++i;
    }
    start += data.train_batch_size;
  }
  const auto kept = golden.folder() / "kd_cache";
  if (!std::filesystem::exists(kept)) return trajectories;
  const TrajectoryCache cache(kept, recipe_of(config, trajectories.begin()->second.timesteps_S));
  for (int64_t row = 0; row < cache.num_rows(); ++row) {
    if (cache.missing_rows(row, row + 1).empty()) trajectories[row] = cache.read(row);
  }
  return trajectories;
}

void write_reference_cache(const std::filesystem::path& folder, const RunConfig& config,
                           const std::map<int64_t, Trajectory>& trajectories) {
  const config::Node& teacher = *config.raw.find("models")->find("teacher");
  const TrajectoryRecipe recipe = recipe_of(config, trajectories.begin()->second.timesteps_S);
  const json metadata = {{"total_samples", recipe.num_rows},
                         {"teacher", teacher.find("init_from")->text()},
                         {"teacher_inference_steps", recipe.num_steps},
                         {"source_data_path", "anywhere"}};
  std::filesystem::create_directories(folder / "samples");
  write_file_atomically(folder / "metadata.json", metadata.dump());
  TrajectoryCache cache(folder, recipe);
  for (const auto& [row, trajectory] : trajectories) cache.write(row, trajectory);
}

void push_generation_draws(const at::Tensor& noise_1TCHW, ReplayRandomSource& random) {
  random.push({"randn", at::zeros_like(noise_1TCHW).transpose(1, 2)});
  random.push({"rand", at::zeros({1})});
  random.push({"randn", noise_1TCHW});
}

}  // namespace zoetrope::test
