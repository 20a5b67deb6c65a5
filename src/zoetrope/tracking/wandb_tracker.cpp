#include "zoetrope/tracking/wandb_tracker.h"

#include <cmath>
#include <cstdlib>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/config/json_writer.h"

namespace zoetrope {

extern const char* const kWandbHelper;  // wandb_helper.py, embedded by CMake

namespace {

namespace fs = std::filesystem;

constexpr WandbProcess::Milliseconds kPause(100);
constexpr WandbProcess::Milliseconds kExitTimeout(5000);
constexpr const char* kInstallHint =
    "start the run with `./zt train ...`, which installs it, or run `python3 -m pip install "
    "wandb`, "
    "or name a Python that has it in ZOETROPE_WANDB_PYTHON, or train without it: "
    "--training.tracker.trackers [console, jsonl, tensorboard]";

std::string python_program(const std::string& given) {
  if (!given.empty()) return given;
  const char* named = std::getenv("ZOETROPE_WANDB_PYTHON");
  return named != nullptr && *named != '\0' ? named : "python3";
}

nlohmann::json number_json(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

// Captions may hold bytes that are not UTF-8; they must not stop a run.
std::string to_line(const nlohmann::json& record) {
  return record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string init_record(const fs::path& folder, const WandbRun& run) {
  return to_line(
      {{"type", "init"},
       {"folder", folder.string()},
       {"entity", run.entity},
       {"project", run.project},
       {"name", run.name},
       {"config", config::to_json(run.config)},
       {"config_file", run.config_file.empty() ? "" : fs::absolute(run.config_file).string()},
       {"resumed", run.resumed},
       {"training_pid", getpid()}});
}

// The helper's next event; one of no kind when it ended or did not answer in time.
WandbEvent await_event(WandbProcess& process, std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    if (const auto event = process.take_event()) return *event;
    if (process.ended() || std::chrono::steady_clock::now() >= deadline) return {};
    process.wait(false, kPause);
  }
}

std::unique_ptr<WandbProcess> start_helper(const std::string& python, const fs::path& log_file,
                                           std::chrono::seconds timeout) {
  std::string cause;
  try {
    auto process = std::make_unique<WandbProcess>(python, kWandbHelper, log_file);
    const WandbEvent event = await_event(*process, timeout);
    if (event.kind == "imported") return process;
    cause = event.kind.empty() ? fmt::format("{} ended with {}; see {}", python,
                                             process->stop(kExitTimeout), log_file.string())
                               : event.message;
  } catch (const Error& error) {
    cause = error.what();
  }
  fail<ConfigError>(
      "training.tracker.trackers: wandb must be a package that Python can import, but {}; {}",
      cause, kInstallHint);
}

void start_run(WandbProcess& process, std::string init, std::chrono::seconds timeout) {
  while (!init.empty() && !process.ended()) {
    process.send_some(init);
    if (!init.empty()) process.wait(true, kPause);
  }
  const WandbEvent event = await_event(process, timeout);
  if (event.kind == "started") {
    log_info("wandb: {}", event.message);
  } else if (event.kind == "failed") {
    fail<ConfigError>(
        "training.tracker.trackers: wandb must be able to start a run, but says {}; log in with "
        "`wandb login` or WANDB_API_KEY, or record without a server with WANDB_MODE=offline",
        event.message);
  } else if (!process.ended()) {
    log_info("wandb: no run after {} s; training starts without waiting longer", timeout.count());
  }
}

}  // namespace

WandbTracker::WandbTracker(const fs::path& folder, const WandbRun& run,
                           const WandbOptions& options) {
  fs::create_directories(folder);
  const fs::path absolute = fs::absolute(folder);
  auto process =
      start_helper(python_program(options.python), absolute / "helper.log", options.start_timeout);
  start_run(*process, init_record(absolute, run), options.start_timeout);
  feeder_ = std::make_unique<WandbFeeder>(
      std::move(process),
      WandbFeeder::Options{options.max_waiting_records, options.finish_timeout, absolute});
}

WandbTracker::~WandbTracker() {
  close(1);
}

void WandbTracker::log(int64_t step, const std::vector<Metric>& metrics) {
  nlohmann::json values = nlohmann::json::object();
  for (const Metric& metric : metrics) values[metric.name] = number_json(metric.value);
  feeder_->push(to_line({{"type", "metrics"}, {"step", step}, {"values", std::move(values)}}),
                true);
}

void WandbTracker::log_text(int64_t step, const std::string& name, const std::string& text) {
  feeder_->push(to_line({{"type", "text"}, {"step", step}, {"name", name}, {"text", text}}), false);
}

void WandbTracker::log_image(int64_t step, const std::string& name, const fs::path& png) {
  feeder_->push(to_line({{"type", "image"},
                         {"step", step},
                         {"name", name},
                         {"path", fs::absolute(png).string()}}),
                false);
}

void WandbTracker::log_video(int64_t step, const std::string& name, const fs::path& mp4,
                             const std::string& caption, double /*fps*/) {
  feeder_->push(to_line({{"type", "video"},
                         {"step", step},
                         {"name", name},
                         {"path", fs::absolute(mp4).string()},
                         {"caption", caption}}),
                false);
}

void WandbTracker::finish() {
  close(0);
}

void WandbTracker::close(int exit_code) {
  if (closed_) return;
  closed_ = true;
  feeder_->close(to_line({{"type", "finish"}, {"exit_code", exit_code}}));
}

}  // namespace zoetrope
