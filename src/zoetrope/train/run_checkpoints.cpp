#include "zoetrope/train/run_checkpoints.h"

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/checkpoint/checkpoint_metadata.h"
#include "zoetrope/config/json_writer.h"
#include "zoetrope/train/config_comparison.h"

namespace zoetrope {
namespace {

// Ours compares resolved configs; FastVideo stores only what was written in the YAML file.
void compare_with_run(const nlohmann::json& metadata, const CheckpointFolder& checkpoint,
                      const RunCheckpoints::Options& options) {
  const bool ours = metadata.contains("zoetrope");
  const nlohmann::json stored =
      ours ? metadata["zoetrope"].value("resolved_config", nlohmann::json())
           : metadata.value("config", nlohmann::json());
  if (!stored.is_object()) return;
  const std::string source = (checkpoint.path / "metadata.json").string();
  const std::string now = to_json(ours ? options.resolved_config : options.raw_config).dump();
  report_differences(
      compare_configs(config::parse_yaml(stored.dump(), source), config::parse_yaml(now, "config"),
                      ours ? ConfigForm::kResolved : ConfigForm::kWritten),
      checkpoint.path.string());
}

void refuse_other_checkpoints(const std::filesystem::path& output_dir,
                              const std::optional<CheckpointFolder>& resume_from) {
  const std::vector<CheckpointFolder> present = list_checkpoints(output_dir);
  if (present.empty()) return;
  const CheckpointFolder& newest = present.front();
  if (!resume_from) {
    fail<CheckpointError>(
        "training.checkpoint.output_dir: a fresh run must have a folder without checkpoints, but "
        "{} "
        "is there; go on from it with --training.checkpoint.resume_from_checkpoint latest, or "
        "choose another folder",
        newest.path.string());
  }
  if (newest.step <= resume_from->step) return;
  fail<CheckpointError>(
      "training.checkpoint.resume_from_checkpoint: {} must be the newest checkpoint of the run's "
      "folder, but {} is newer and would be taken for this run's; remove the newer ones or choose "
      "another training.checkpoint.output_dir",
      resume_from->path.string(), newest.path.string());
}

}  // namespace

RunCheckpoints::Options checkpoint_options(const RunConfig& config,
                                           std::shared_ptr<const Mesh> mesh,
                                           std::shared_ptr<MessageBoard> board) {
  const int64_t samples_per_step = config.training.data.train_batch_size *
                                   config.training.loop.gradient_accumulation_steps *
                                   mesh->sizes.num_data_groups();
  return {config.training.checkpoint, config.raw,      write_run_config(config),
          samples_per_step,           std::move(mesh), std::move(board)};
}

RunCheckpoints::RunCheckpoints(Options options) : options_(std::move(options)) {
  const CheckpointConfig& config = options_.checkpoint;
  const std::string resume = config.resume_from_checkpoint.value_or("");
  if (!resume.empty()) resume_from_ = resolve_on_first_rank(resume);
  // A damaged newer one that `latest` passed over is written again.
  if (!is_latest(resume)) refuse_other_checkpoints(config.output_dir, resume_from_);
  if (config.training_state_checkpointing_steps > 0) {
    writer_ = std::make_unique<CheckpointWriter>(CheckpointWriter::Options{
        config.output_dir, config.checkpoints_total_limit, options_.board});
  }
  if (!resume_from_) {
    if (!resume.empty())
      log_info("resume: no checkpoint in {}; starting afresh", config.output_dir);
    return;
  }
  const nlohmann::json metadata = read_checkpoint_metadata(*resume_from_);
  compare_with_run(metadata, *resume_from_, options_);
}

std::optional<CheckpointFolder> RunCheckpoints::resolve_on_first_rank(
    const std::string& resume) const {
  // One rank reads and checks all of the checkpoint; the others take what it found.
  constexpr const char* kKey = "checkpoint/resume";
  MessageBoard& board = *options_.board;
  if (board.rank() == 0) {
    auto found = resolve_resume(resume, options_.checkpoint.output_dir);
    board.post(kKey, found ? fmt::format("{} {}", found->step, found->path.string()) : "");
    return found;
  }
  const std::string found = board.read(kKey);
  if (found.empty()) return std::nullopt;
  return CheckpointFolder{found.substr(found.find(' ') + 1), std::stoll(found)};
}

void RunCheckpoints::resume(const Parts& parts) {
  const bool asked = !options_.checkpoint.resume_from_checkpoint.value_or("").empty();
  if (resume_from_) {
    const DcpFolder checkpoint(resume_from_->dcp());
    restore_training_state(checkpoint, parts.run, parts.callbacks, *options_.mesh);
    restore_loader(read_checkpoint_metadata(*resume_from_), parts.loader);
    parts.run.step = resume_from_->step;
    last_saved_step_ = parts.run.step;
    log_info("resumed from {}: {} steps are done", resume_from_->path.string(), parts.run.step);
  }
  if (asked) parts.run.tracker.resume_at(parts.run.step);
}

void RunCheckpoints::restore_loader(const nlohmann::json& metadata, DataLoader& loader) const {
  if (metadata.contains("zoetrope")) {
    loader.load_state_dict(metadata["zoetrope"].value("loader", nlohmann::json::object()));
    return;
  }
  nlohmann::json state = loader.state_dict();
  state["samples_taken"] = resume_from_->step * options_.samples_per_step;
  loader.load_state_dict(state);
}

void RunCheckpoints::save_when_due(const Parts& parts) {
  if (enabled() && parts.run.step % options_.checkpoint.training_state_checkpointing_steps == 0)
    save(parts);
}

void RunCheckpoints::save_last(const Parts& parts) {
  if (!enabled()) return;
  writer_->finish();
  const bool on_disk = last_saved_step_ == parts.run.step && writer_->last_error().empty();
  if (!on_disk) {
    save(parts);
    writer_->finish();
  }
  if (!writer_->last_error().empty()) {
    fail<CheckpointError>(
        "{}: the last checkpoint must be written, but could not be: {}",
        checkpoint_folder(options_.checkpoint.output_dir, parts.run.step).path.string(),
        writer_->last_error());
  }
}

void RunCheckpoints::wait_for_copy() {
  if (enabled()) writer_->wait_for_copy();
}

double RunCheckpoints::waited_sec() const {
  return enabled() ? writer_->waited_sec() : 0.0;
}

void RunCheckpoints::save(const Parts& parts) {
  writer_->save({parts.run.step, training_state(parts.run.method, parts.callbacks, *options_.mesh),
                 metadata(parts.run.step, parts.loader)});
  last_saved_step_ = parts.run.step;
}

std::string RunCheckpoints::metadata(int64_t step, const DataLoader& loader) const {
  nlohmann::ordered_json json;
  json["step"] = step;
  json["config"] = to_json(options_.raw_config);
  json["zoetrope"] = {{"format_version", kCheckpointFormatVersion},
                      {"resolved_config", to_json(options_.resolved_config)},
                      {"loader", loader.state_dict()}};
  return json.dump(2) + "\n";
}

}  // namespace zoetrope
