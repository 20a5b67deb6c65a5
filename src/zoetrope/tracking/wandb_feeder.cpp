#include "zoetrope/tracking/wandb_feeder.h"

#include <algorithm>

#include "zoetrope/base/log.h"

namespace zoetrope {
namespace {

constexpr WandbProcess::Milliseconds kPause(50);
constexpr WandbProcess::Milliseconds kExitTimeout(5000);
constexpr std::chrono::seconds kQuietWait(2);
constexpr int kMaxProblemsSaid = 3;

}  // namespace

WandbFeeder::WandbFeeder(std::unique_ptr<WandbProcess> process, Options options)
    : process_(std::move(process)),
      options_(std::move(options)),
      queue_(options_.max_waiting_records),
      thread_([this] { feed(); }) {}

WandbFeeder::~WandbFeeder() {
  stop();
}

void WandbFeeder::feed() {
  std::string line;
  while (!process_->ended() && !confirmed_ && !giving_up_) {
    if (line.empty()) line = queue_.take();
    const bool idle = line.empty();
    if (!idle) process_->send_some(line);
    const bool more_at_once = !idle && line.empty();
    process_->wait(!line.empty(), more_at_once ? WandbProcess::Milliseconds(0) : kPause);
    handle_events();
  }
  queue_.clear();
  if (process_->ended() && !confirmed_) {
    log_info("wandb: its helper ended unexpectedly ({}); training goes on without it; see {}",
             process_->stop(kExitTimeout), (options_.folder / "helper.log").string());
  }
  const std::lock_guard lock(mutex_);
  fed_ = true;
  fed_changed_.notify_all();
}

void WandbFeeder::handle_events() {
  while (const auto event = process_->take_event()) {
    if (event->kind == "finished") {
      confirmed_ = true;
    } else if (event->kind != "problem" || ++num_problems_ <= kMaxProblemsSaid) {
      log_info("wandb: {}", event->message);
    }
  }
}

void WandbFeeder::close(std::string last_line) {
  queue_.push_last(std::move(last_line));
  bool in_time = false;
  {
    std::unique_lock lock(mutex_);
    const auto fed = [this] { return fed_; };
    in_time = fed_changed_.wait_for(lock, std::min(kQuietWait, options_.finish_timeout), fed);
    if (!in_time) {
      log_info("wandb: waiting for what is not sent yet, {} s at most",
               options_.finish_timeout.count());
      in_time = fed_changed_.wait_for(lock, options_.finish_timeout, fed);
    }
  }
  stop();
  if (!in_time) {
    log_info(
        "wandb: stopped before everything was sent; `wandb sync` of the run's folder below {} "
        "sends "
        "what was recorded",
        options_.folder.string());
  }
  if (queue_.num_dropped() > 0) {
    log_info("wandb: {} records were dropped, the oldest first, since its helper was too slow",
             queue_.num_dropped());
  }
}

void WandbFeeder::stop() {
  giving_up_ = true;
  if (!thread_.joinable()) return;
  thread_.join();
  process_->stop(confirmed_ ? kExitTimeout : WandbProcess::Milliseconds(0));
}

}  // namespace zoetrope
