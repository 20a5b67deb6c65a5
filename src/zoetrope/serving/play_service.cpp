#include "zoetrope/serving/play_service.h"

#include <array>
#include <random>
#include <utility>

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"
#include "zoetrope/media/image.h"

namespace zoetrope {

extern const char* const kPlayPage;

namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kStopCheck(50);
constexpr const char* kClosed = "zoetrope play has ended; see its console";

struct Route {
  const char* path;
  const char* method;
};
constexpr std::array<Route, 4> kRoutes = {
    {{"/", "GET"}, {"/session", "POST"}, {"/frames", "POST"}, {"/end", "POST"}}};

HttpReply json_reply(const json& body) {
  return {.status = 200,
          .content_type = "application/json",
          .body = body.dump(-1, ' ', false, json::error_handler_t::replace),
          .headers = {}};
}

/// True for names of this machine's loopback address, with any port (it may be forwarded).
bool is_own_host(const std::string& host) {
  const std::string name = host.substr(0, host.rfind(':'));
  return name == "127.0.0.1" || name == "localhost";
}

/// The reply to a request that no page of this server sends, also on behalf of other sites.
std::optional<HttpReply> refusal(const HttpRequest& request) {
  // A name of another site may lead to this address, so that its pages could play (DNS rebinding).
  if (!is_own_host(request.host))
    return error_reply(403, "Host: must be 127.0.0.1 or localhost, but is '" + request.host + "'");
  if (!request.origin.empty() && request.origin != "http://" + request.host)
    return error_reply(403, "Origin: must be this page, but is '" + request.origin + "'");
  for (const Route& route : kRoutes) {
    if (request.path != route.path) continue;
    if (request.method != route.method) {
      HttpReply reply = error_reply(405, request.path + ": must be asked for with " + route.method +
                                             ", but was with " + request.method);
      reply.headers["Allow"] = route.method;
      return reply;
    }
    if (request.method == "POST" && request.content_type != "application/json") {
      return error_reply(
          415, "Content-Type: must be application/json, but is '" + request.content_type + "'");
    }
    return std::nullopt;
  }
  return error_reply(404, request.path + ": there is no such page; the game is at /");
}

HttpReply page() {
  return {.status = 200,
          .content_type = "text/html; charset=utf-8",
          .body = kPlayPage,
          .headers = {{"Content-Security-Policy",
                       "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                       "img-src data:; connect-src 'self'; frame-ancestors 'none'"}}};
}

/// Text that no other program guesses.
std::string random_token() {
  std::random_device device;
  std::string token;
  for (int i = 0; i < 4; ++i) token += fmt::format("{:08x}", device());
  return token;
}

/// The frames one below the other.
media::Frame stack(const std::vector<media::Frame>& frames) {
  if (frames.empty()) fail("play: a block must have frames, but has none");
  media::Frame strip;
  strip.width = frames[0].width;
  for (const media::Frame& frame : frames) {
    if (frame.width != strip.width || frame.height != frames[0].height) {
      fail("play: the frames of a block must be of one size, but are {}x{} and {}x{}", strip.width,
           frames[0].height, frame.width, frame.height);
    }
    strip.height += frame.height;
    strip.rgb.insert(strip.rgb.end(), frame.rgb.begin(), frame.rgb.end());
  }
  return strip;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

/// Closes the service on the way out of run().
class PlayService::Closing {
 public:
  explicit Closing(PlayService& service) : service_(service) {}
  ~Closing() { service_.close(); }
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;

 private:
  PlayService& service_;
};

PlayService::PlayService(PlaySession& session, PlayOptions options)
    : session_(session), options_(std::move(options)) {}

HttpReply PlayService::answer(const HttpRequest& request) {
  HttpReply reply;
  if (const std::optional<HttpReply> refused = refusal(request)) {
    reply = *refused;
  } else {
    try {
      if (request.path == "/") reply = page();
      if (request.path == "/session") reply = begin_session();
      if (request.path == "/frames") reply = next_frames(parse_frames_request(request.body));
      if (request.path == "/end") reply = end_session(parse_end_request(request.body));
    } catch (const DataError& error) {
      reply = error_reply(400, error.what());
    }
  }
  reply.headers["Cache-Control"] = "no-store";
  reply.headers["X-Content-Type-Options"] = "nosniff";
  return reply;
}

HttpReply PlayService::begin_session() {
  const std::lock_guard lock(mutex_);
  if (is_closed_) return error_reply(503, kClosed);
  if (player_ &&
      (player_->is_waiting || Clock::now() - player_->last_heard < options_.max_silence)) {
    return error_reply(409, "another page is playing; close it, and this one goes on");
  }
  player_ = Player{random_token(), Clock::now()};
  must_restart_ = true;
  return json_reply({{"session", player_->token},
                     {"title", options_.title},
                     {"keys", options_.controls.names()},
                     {"mouse", options_.controls.has_mouse()},
                     {"fps", options_.fps}});
}

HttpReply PlayService::next_frames(const FramesRequest& request) {
  const PlayActions actions = options_.controls.actions(request.keys);
  std::unique_lock lock(mutex_);
  if (is_closed_) return error_reply(503, kClosed);
  if (!player_ || player_->token != request.session)
    return error_reply(410, "this page has lost its place to another; load it again to play");
  if (player_->is_waiting)
    return error_reply(429, "a page must wait for its frames before it asks for more");
  player_->is_waiting = true;
  statistics_.add_latencies(request.latencies_ms);
  // A page that was left may still wait for its last frames.
  work_changed_.wait(lock, [&] { return !job_ || is_closed_; });
  if (is_closed_) return error_reply(503, kClosed);
  job_ = Job{actions, std::exchange(must_restart_, false) || request.restart};
  work_changed_.notify_all();
  work_changed_.wait(lock, [&] { return frames_ || is_closed_; });
  if (!frames_) return error_reply(503, kClosed);
  HttpReply reply = *std::exchange(frames_, std::nullopt);
  job_.reset();
  work_changed_.notify_all();
  if (player_ && player_->token == request.session) {
    player_->is_waiting = false;
    player_->last_heard = Clock::now();
  }
  return reply;
}

HttpReply PlayService::end_session(const std::string& token) {
  const std::lock_guard lock(mutex_);
  if (player_ && player_->token == token) player_.reset();
  return json_reply(json::object());
}

std::optional<PlayService::Job> PlayService::wait_for_job() {
  std::unique_lock lock(mutex_);
  if (!work_changed_.wait_for(lock, kStopCheck, [&] { return job_ && !frames_; }))
    return std::nullopt;
  return job_;
}

HttpReply PlayService::carry_out(const Job& job) {
  const Clock::time_point start = Clock::now();
  if (job.restart) session_.restart();
  const std::vector<media::Frame> frames = session_.next_frames(job.actions);
  HttpReply reply = {.status = 200,
                     .content_type = "image/png",
                     .body = media::encode_png(stack(frames)),
                     .headers = {{"Frame-Count", std::to_string(frames.size())}}};
  const std::lock_guard lock(mutex_);
  statistics_.num_frames += static_cast<int64_t>(frames.size());
  statistics_.generation_sec += seconds_since(start);
  return reply;
}

void PlayService::hand_on(HttpReply frames) {
  const std::lock_guard lock(mutex_);
  frames_ = std::move(frames);
  work_changed_.notify_all();
}

void PlayService::run(const std::function<bool()>& should_stop) {
  const Closing closing(*this);
  while (!should_stop()) {
    const std::optional<Job> job = wait_for_job();
    if (!job) continue;
    hand_on(carry_out(*job));
    const Clock::time_point start = Clock::now();
    session_.prepare_next();
    const std::lock_guard lock(mutex_);
    statistics_.generation_sec += seconds_since(start);
  }
}

void PlayService::close() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  work_changed_.notify_all();
}

PlayStatistics PlayService::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace zoetrope
