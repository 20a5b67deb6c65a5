// What a page is answered, without a socket: frames follow keys, one page plays at a time, and
// requests of other kinds are refused with a message.
#include "zoetrope/serving/play_service.h"

#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "support/error_text.h"
#include "support/fake_play_session.h"
#include "support/temporary_folder.h"
#include "zoetrope/base/file.h"
#include "zoetrope/media/image.h"

namespace zoetrope::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::chrono::milliseconds kMaxSilence(50);

HttpRequest request(const std::string& method, const std::string& path, const std::string& body) {
  return {.method = method,
          .path = path,
          .host = "127.0.0.1:4321",
          .origin = "http://127.0.0.1:4321",
          .content_type = method == "POST" ? "application/json" : "",
          .body = body};
}

std::string error_in(const HttpReply& reply) {
  return json::parse(reply.body).at("error");
}

class PlayServiceTest : public testing::Test {
 protected:
  PlayServiceTest() { start(); }
  ~PlayServiceTest() override { stop(); }

  void start() {
    PlayOptions options;
    options.controls = PlayControls({"w", "s", "a", "d"}, 0.0);
    options.fps = 20.0;
    options.title = "a square";
    options.max_silence = kMaxSilence;
    service_.emplace(session_, options);
    running_ = std::async(std::launch::async,
                          [this] { service_->run([this] { return should_stop_.load(); }); });
  }
  /// Throws what run() threw.
  void stop() {
    should_stop_ = true;
    if (running_.valid()) running_.get();
  }

  HttpReply post(const std::string& path, const json& body) {
    return service_->answer(request("POST", path, body.dump()));
  }
  std::string begin() {
    const HttpReply reply = post("/session", json::object());
    EXPECT_EQ(reply.status, 200) << reply.body;
    return json::parse(reply.body).at("session");
  }
  HttpReply frames(const std::string& session, const std::vector<std::string>& keys) {
    return post("/frames", {{"session", session}, {"keys", keys}});
  }
  media::Frame picture(const HttpReply& reply) {
    EXPECT_EQ(reply.status, 200) << reply.body;
    write_file_atomically(folder_ / "strip.png", reply.body);
    return media::read_image(folder_ / "strip.png");
  }

  TemporaryFolder folder_;
  FakePlaySession session_;
  std::optional<PlayService> service_;
  std::atomic<bool> should_stop_{false};
  std::future<void> running_;
};

TEST_F(PlayServiceTest, ThePageCanBeLoaded) {
  const HttpReply reply = service_->answer(request("GET", "/", ""));
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.content_type, HasSubstr("text/html"));
  EXPECT_THAT(reply.body, HasSubstr("</html>"));
  EXPECT_THAT(reply.headers.at("Content-Security-Policy"), HasSubstr("default-src 'none'"));
}

TEST_F(PlayServiceTest, ASessionSaysWhatCanBePressed) {
  const json session = json::parse(post("/session", json::object()).body);
  EXPECT_EQ(session.at("keys"), (json{"w", "s", "a", "d"}));
  EXPECT_EQ(session.at("mouse"), false);
  EXPECT_EQ(session.at("fps"), 20.0);
  EXPECT_EQ(session.at("title"), "a square");
}

TEST_F(PlayServiceTest, FramesFollowTheKeys) {
  const std::string session = begin();
  const HttpReply reply = frames(session, {"d"});
  const media::Frame strip = picture(reply);
  EXPECT_EQ(reply.content_type, "image/png");
  EXPECT_EQ(reply.headers.at("Frame-Count"), std::to_string(FakePlaySession::kFramesPerBlock));

  FakePlaySession same;
  same.restart();
  const std::vector<media::Frame> expected = same.next_frames({{0, 0, 0, 1}, {}});
  media::Frame stacked;
  for (const media::Frame& frame : expected)
    stacked.rgb.insert(stacked.rgb.end(), frame.rgb.begin(), frame.rgb.end());
  EXPECT_EQ(strip.width, FakePlaySession::kWidth);
  EXPECT_EQ(strip.rgb, stacked.rgb);
  EXPECT_NE(picture(frames(session, {"a"})).rgb, strip.rgb);
  EXPECT_THAT(session_.received.back().keyboard, ElementsAre(0, 0, 1, 0));
}

TEST_F(PlayServiceTest, ANewPlayerAndARestartBeginAClip) {
  const std::string session = begin();
  const media::Frame first = picture(frames(session, {"w"}));
  EXPECT_NE(picture(frames(session, {"w"})).rgb, first.rgb);
  EXPECT_EQ(session_.num_restarts, 1);
  const HttpReply again =
      post("/frames", {{"session", session}, {"keys", {"w"}}, {"restart", true}});
  EXPECT_EQ(picture(again).rgb, first.rgb);
  post("/end", {{"session", session}});
  EXPECT_EQ(picture(frames(begin(), {"w"})).rgb, first.rgb);
  EXPECT_EQ(session_.num_restarts, 3);
}

TEST_F(PlayServiceTest, ASecondPageIsRefusedWhileTheFirstPlays) {
  const std::string first = begin();
  const HttpReply refused = post("/session", json::object());
  EXPECT_EQ(refused.status, 409);
  EXPECT_THAT(error_in(refused), HasSubstr("another page is playing"));
  post("/end", {{"session", "someone else's"}});
  EXPECT_EQ(post("/session", json::object()).status, 409);
  post("/end", {{"session", first}});
  begin();
  EXPECT_EQ(frames(first, {}).status, 410);
}

TEST_F(PlayServiceTest, ASilentPageLosesItsPlace) {
  const std::string silent = begin();
  std::this_thread::sleep_for(2 * kMaxSilence);
  EXPECT_EQ(frames(silent, {}).status, 200);  // nobody else came
  std::this_thread::sleep_for(2 * kMaxSilence);
  const std::string next = begin();
  const HttpReply late = frames(silent, {});
  EXPECT_EQ(late.status, 410);
  EXPECT_THAT(error_in(late), HasSubstr("lost its place"));
  EXPECT_EQ(frames(next, {}).status, 200);
}

TEST_F(PlayServiceTest, WaitingForFramesIsNoSilence) {
  session_.block_time = 4 * kMaxSilence;
  const std::string session = begin();
  auto slow = std::async(std::launch::async, [&] { return frames(session, {}); });
  std::this_thread::sleep_for(2 * kMaxSilence);
  EXPECT_EQ(post("/session", json::object()).status, 409);
  EXPECT_EQ(frames(session, {}).status, 429);
  EXPECT_EQ(slow.get().status, 200);
}

TEST_F(PlayServiceTest, APageThatWasLeftDoesNotHoldUpTheNext) {
  session_.block_time = kMaxSilence;
  const std::string left = begin();
  auto orphan = std::async(std::launch::async, [&] { return frames(left, {"a"}); });
  std::this_thread::sleep_for(kMaxSilence / 2);
  post("/end", {{"session", left}});
  const media::Frame strip = picture(frames(begin(), {"d"}));
  orphan.get();
  EXPECT_EQ(session_.num_restarts, 2);
  EXPECT_THAT(session_.received.back().keyboard, ElementsAre(0, 0, 0, 1));
  EXPECT_EQ(strip.width, FakePlaySession::kWidth);
}

TEST_F(PlayServiceTest, BadBodiesAreRefused) {
  const auto refusal_of = [this](const std::string& body) {
    const HttpReply reply = service_->answer(request("POST", "/frames", body));
    EXPECT_EQ(reply.status, 400) << body;
    return error_in(reply);
  };
  const std::string session = begin();
  const auto with = [&](const std::string& member) {
    return R"({"session": ")" + session + R"(", )" + member + "}";
  };
  EXPECT_THAT(refusal_of("{"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(refusal_of("[]"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(refusal_of("\xff\xfe"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(refusal_of("{}"), HasSubstr("session: must be"));
  EXPECT_THAT(refusal_of(R"({"session": 7})"), HasSubstr("session: must be"));
  EXPECT_THAT(refusal_of(with(R"("key": "w")")), HasSubstr("but has 'key'"));
  EXPECT_THAT(refusal_of(with(R"("keys": "w")")), HasSubstr("keys: must be a list"));
  EXPECT_THAT(refusal_of(with(R"("keys": [1])")), HasSubstr("keys: must be a list"));
  EXPECT_THAT(refusal_of(with(R"("keys": ["x"])")),
              HasSubstr("keys: must be among [w, s, a, d], but one is 'x'"));
  EXPECT_THAT(refusal_of(with(R"("restart": 1)")), HasSubstr("restart: must be true or false"));
  EXPECT_THAT(refusal_of(with(R"("latencies_ms": [-1])")), HasSubstr("latencies_ms: must be"));
  EXPECT_THAT(refusal_of(with(R"("latencies_ms": [1e300])")), HasSubstr("latencies_ms: must be"));
  EXPECT_TRUE(session_.received.empty());
  EXPECT_EQ(frames(session, {}).status, 200);
}

TEST_F(PlayServiceTest, OtherSitesMethodsAndPathsAreRefused) {
  const auto answer = [this](auto change) {
    HttpRequest changed = request("POST", "/session", "{}");
    change(changed);
    return service_->answer(changed);
  };
  const HttpReply rebound = answer([](HttpRequest& r) { r.host = "game.example:4321"; });
  EXPECT_EQ(rebound.status, 403);
  EXPECT_THAT(error_in(rebound), HasSubstr("Host: must be 127.0.0.1 or localhost"));
  EXPECT_EQ(answer([](HttpRequest& r) { r.host = ""; }).status, 403);
  EXPECT_EQ(answer([](HttpRequest& r) { r.host = "127.0.0.1.game.example"; }).status, 403);
  EXPECT_EQ(answer([](HttpRequest& r) { r.origin = "http://game.example"; }).status, 403);
  EXPECT_EQ(answer([](HttpRequest& r) { r.origin = "null"; }).status, 403);
  EXPECT_EQ(answer([](HttpRequest& r) { r.content_type = "text/plain"; }).status, 415);
  const HttpReply wrong_method = answer([](HttpRequest& r) { r.method = "GET"; });
  EXPECT_EQ(wrong_method.status, 405);
  EXPECT_EQ(wrong_method.headers.at("Allow"), "POST");
  EXPECT_EQ(answer([](HttpRequest& r) { r.path = "/etc/passwd"; }).status, 404);
  // A port of another machine may be forwarded here under another number.
  EXPECT_EQ(answer([](HttpRequest& r) {
              r.host = "localhost:99";
              r.origin = "http://localhost:99";
            }).status,
            200);
}

TEST_F(PlayServiceTest, WhoWaitsWhenItEndsIsTold) {
  session_.block_time = 4 * kMaxSilence;
  const std::string session = begin();
  auto waiting = std::async(std::launch::async, [&] { return frames(session, {}); });
  std::this_thread::sleep_for(kMaxSilence);
  stop();
  EXPECT_EQ(waiting.get().status, 200);  // the block under way was finished
  EXPECT_EQ(frames(session, {}).status, 503);
  EXPECT_EQ(post("/session", json::object()).status, 503);
}

TEST_F(PlayServiceTest, AFailingModelEndsThePlay) {
  session_.fails = true;
  const HttpReply reply = frames(begin(), {});
  EXPECT_EQ(reply.status, 503);
  EXPECT_THAT(error_in(reply), HasSubstr("zoetrope play has ended"));
  EXPECT_THROW(stop(), std::runtime_error);
}

TEST_F(PlayServiceTest, CountsWhatWasPlayed) {
  EXPECT_EQ(service_->statistics().describe(), "no frames were asked for");
  session_.block_time = std::chrono::milliseconds(40);
  const std::string session = begin();
  frames(session, {});
  post("/frames", {{"session", session}, {"latencies_ms", {100, 300}}});
  const PlayStatistics statistics = service_->statistics();
  EXPECT_EQ(statistics.num_frames, 8);
  EXPECT_GE(statistics.generation_sec, 0.08);
  EXPECT_LT(statistics.generation_sec, 8.0);
  EXPECT_THAT(statistics.describe(), HasSubstr("8 frames, generated at "));
  EXPECT_THAT(statistics.describe(), HasSubstr("200 ms in the mean, 300 ms at most, 2 times"));
}

}  // namespace
}  // namespace zoetrope::test
