#include "zoetrope/data/trajectory_cache.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/checkpoint/torch_archive/torch_archive.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kMetadata = "metadata.json";
constexpr const char* kSamples = "samples";
constexpr const char* kComplete = "COMPLETE";
/// What FastVideo does not store stands under this key, which it does not read.
constexpr const char* kOurs = "zoetrope";
/// Part of the names that AtomicFile writes to.
constexpr const char* kPartial = ".partial-";
constexpr int64_t kTrajectoryDimensions = 5;

json read_metadata(const fs::path& path) {
  try {
    json metadata = json::parse(read_file(path));
    if (metadata.is_object()) return metadata;
  } catch (const json::exception&) {
    // Said below, as for any other text that is no metadata.
  }
  fail<DataError>("{}: must be the metadata of a trajectory cache, but is not; delete the folder",
                  path.string());
}

bool is_whole(const fs::path& sample) {
  if (!fs::exists(sample)) return false;
  try {
    const TorchArchive archive(sample);
    return archive.value().find("trajectory_latents") != nullptr;
  } catch (const Error&) {
    return false;
  }
}

void check_shapes(const Trajectory& trajectory) {
  const at::Tensor& latents = trajectory.latents_STCHW;
  const bool fits = latents.dim() == kTrajectoryDimensions && trajectory.timesteps_S.dim() == 1 &&
                    trajectory.timesteps_S.scalar_type() == at::kLong &&
                    trajectory.timesteps_S.size(0) == latents.size(0) &&
                    trajectory.clean_TCHW.sizes() == latents.sizes().slice(1);
  if (fits) return;
  fail<CheckpointError>(
      "must hold latents [S, T, C, H, W], int64 timesteps [S] and clean latents [T, C, H, W], but "
      "has {}, "
      "{} and {}",
      format_shape(latents.sizes()), format_shape(trajectory.timesteps_S.sizes()),
      format_shape(trajectory.clean_TCHW.sizes()));
}

Trajectory read_trajectory(const fs::path& path) {
  const TorchArchive archive(path);
  const auto tensor = [&](const char* key) { return archive.tensor(archive.value().at(key)); };
  Trajectory trajectory{tensor("trajectory_latents"), tensor("trajectory_timesteps"),
                        tensor("real"), tensor("text_embedding"), tensor("text_attention_mask")};
  check_shapes(trajectory);
  return trajectory;
}

}  // namespace

TrajectoryCache::TrajectoryCache(fs::path folder, TrajectoryRecipe recipe)
    : folder_(std::move(folder)), recipe_(std::move(recipe)) {
  const fs::path metadata = folder_ / kMetadata;
  if (fs::exists(metadata)) {
    check_metadata(read_metadata(metadata));
  } else if (fs::exists(folder_ / kSamples) || fs::exists(folder_ / kComplete)) {
    fail<DataError>(
        "{}: must say which teacher the trajectories beside it are of, but is missing; delete the "
        "folder or name another one",
        metadata.string());
  }
}

void TrajectoryCache::check_metadata(const json& stored) const {
  std::vector<std::string> differences;
  const auto compare = [&](const char* what, const json& there, const json& here) {
    if (there != here)
      differences.push_back(
          fmt::format("{} is {} there and {} here", what, there.dump(), here.dump()));
  };
  const json ours = stored.value(kOurs, json::object());
  compare("the number of rows", stored.value("total_samples", json()), recipe_.num_rows);
  compare("teacher_inference_steps", stored.value("teacher_inference_steps", json()),
          recipe_.num_steps);
  compare("teacher_guidance_scale", ours.value("teacher_guidance_scale", json(1.0)),
          recipe_.guidance_scale);
  compare("flow_shift", ours.value("flow_shift", json(recipe_.flow_shift)), recipe_.flow_shift);
  compare("num_latent_t", ours.value("num_latent_t", json(recipe_.num_latent_frames)),
          recipe_.num_latent_frames);
  if (!recipe_.teacher_weights.empty()) {
    if (ours.contains("teacher_weights")) {
      compare("the checksum of the teacher's weights", ours["teacher_weights"],
              recipe_.teacher_weights);
    } else {
      compare("the teacher", stored.value("teacher", json()), recipe_.teacher);
    }
  }
  if (differences.empty()) return;
  fail<DataError>(
      "{}: the trajectories must be made as this run would make them, but {}; name another folder, "
      "or delete this one to have it made anew",
      folder_.string(), fmt::join(differences, "; "));
}

fs::path TrajectoryCache::sample_path(int64_t row) const {
  return folder_ / kSamples / fmt::format("{:08d}.pt", row);
}

bool TrajectoryCache::complete() const {
  if (!fs::exists(folder_ / kComplete)) return false;
  for (int64_t row = 0; row < recipe_.num_rows; ++row) {
    if (fs::exists(sample_path(row))) continue;
    fail<DataError>(
        "{}: must be there, since the cache is marked complete; delete '{}' to have what is "
        "missing made anew",
        sample_path(row).string(), (folder_ / kComplete).string());
  }
  return true;
}

std::vector<int64_t> TrajectoryCache::missing_rows(int64_t first, int64_t last) const {
  std::vector<int64_t> missing;
  for (int64_t row = first; row < last; ++row) {
    if (!is_whole(sample_path(row))) missing.push_back(row);
  }
  return missing;
}

void TrajectoryCache::begin_writing() {
  fs::create_directories(folder_ / kSamples);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_ / kSamples)) {
    if (entry.path().filename().string().find(kPartial) != std::string::npos)
      fs::remove(entry.path());
  }
  if (fs::exists(folder_ / kMetadata)) return;
  const json metadata = {{"total_samples", recipe_.num_rows},
                         {"teacher", recipe_.teacher},
                         {"teacher_inference_steps", recipe_.num_steps},
                         {"source_data_path", recipe_.data_path},
                         {kOurs,
                          {{"teacher_weights", recipe_.teacher_weights},
                           {"teacher_guidance_scale", recipe_.guidance_scale},
                           {"flow_shift", recipe_.flow_shift},
                           {"num_latent_t", recipe_.num_latent_frames}}}};
  constexpr int kIndent = 2;
  write_file_atomically(folder_ / kMetadata, metadata.dump(kIndent));
}

void TrajectoryCache::write(int64_t row, const Trajectory& trajectory) {
  AtomicFile file(sample_path(row));
  OutputFile out(file.temporary());
  write_torch_archive(out, NamedTensors{{"trajectory_latents", trajectory.latents_STCHW},
                                        {"trajectory_timesteps", trajectory.timesteps_S},
                                        {"real", trajectory.clean_TCHW},
                                        {"text_embedding", trajectory.text_embedding_LD},
                                        {"text_attention_mask", trajectory.text_attention_mask_L}});
  out.finish();
  file.commit();
}

void TrajectoryCache::mark_complete() {
  write_file_atomically(folder_ / kComplete, "");
}

Trajectory TrajectoryCache::read(int64_t row) const {
  const fs::path path = sample_path(row);
  try {
    return read_trajectory(path);
  } catch (const Error& error) {
    fail<DataError>(
        "{}: must be a trajectory of the teacher, but cannot be used; delete it and '{}' to have "
        "it made anew: {}",
        path.string(), (folder_ / kComplete).string(), error.what());
  }
}

}  // namespace zoetrope
