// Requests over real sockets: what arrives, what is refused before it is answered, and that only
// this machine's loopback address listens.
#include "zoetrope/serving/http_listener.h"

#include <chrono>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <httplib.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/error_text.h"

namespace zoetrope::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr size_t kMaxBytes = 100;

/// Addresses of this machine that are not loopback.
std::vector<in_addr> other_addresses() {
  std::vector<in_addr> addresses;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return addresses;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    const in_addr address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr;
    if (ntohl(address.s_addr) >> 24 != 127) addresses.push_back(address);
  }
  freeifaddrs(all);
  return addresses;
}

bool can_connect(const in_addr& address, int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr = address;
  to.sin_port = htons(static_cast<uint16_t>(port));
  const bool connected = connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
  close(socket);
  return connected;
}

constexpr std::chrono::milliseconds kPause(50);

/// What is answered to `bytes`, and to `later` ones after a pause, until the connection is closed.
std::string answer_to(int port, const std::string& bytes, const std::string& later = "") {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(static_cast<uint16_t>(port));
  EXPECT_EQ(connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  EXPECT_EQ(send(socket, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  if (!later.empty()) {
    std::this_thread::sleep_for(kPause);
    send(socket, later.data(), later.size(), MSG_NOSIGNAL);  // fails where the server has closed
  }
  std::string answer;
  std::array<char, 1024> buffer{};
  while (true) {
    const ssize_t num_bytes = recv(socket, buffer.data(), buffer.size(), 0);
    if (num_bytes <= 0) break;
    answer.append(buffer.data(), static_cast<size_t>(num_bytes));
  }
  close(socket);
  return answer;
}

/// Answers with what it was asked.
class HttpListenerTest : public testing::Test {
 protected:
  HttpReply echo(const HttpRequest& request) {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    return {.status = 200,
            .content_type = "text/plain",
            .body = "got " + request.body,
            .headers = {{"Frame-Count", "3"}}};
  }

  std::mutex mutex_;
  std::vector<HttpRequest> requests_;
  HttpListener listener_{0, kMaxBytes,
                         [this](const HttpRequest& request) { return echo(request); }};
  httplib::Client client_{"127.0.0.1", listener_.port()};
};

TEST_F(HttpListenerTest, RequestsArriveWhole) {
  const auto reply = client_.Post("/frames", {{"Origin", "http://elsewhere"}}, "{\"a\": 1}",
                                  "application/json; charset=utf-8");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->body, "got {\"a\": 1}");
  EXPECT_EQ(reply->get_header_value("Frame-Count"), "3");
  ASSERT_EQ(requests_.size(), 1U);
  EXPECT_EQ(requests_[0].method, "POST");
  EXPECT_EQ(requests_[0].path, "/frames");
  EXPECT_EQ(requests_[0].host, "127.0.0.1:" + std::to_string(listener_.port()));
  EXPECT_EQ(requests_[0].origin, "http://elsewhere");
  EXPECT_EQ(requests_[0].content_type, "application/json");
}

TEST_F(HttpListenerTest, EveryMethodIsAnswered) {
  EXPECT_EQ(client_.Get("/")->status, 200);
  EXPECT_EQ(client_.Head("/")->status, 200);
  EXPECT_EQ(client_.Options("/")->status, 200);
  EXPECT_EQ(client_.Put("/", "x", "text/plain")->body, "got x");
  EXPECT_EQ(client_.Patch("/", "x", "text/plain")->body, "got x");
  EXPECT_EQ(client_.Delete("/", "x", "text/plain")->body, "got x");
  EXPECT_EQ(requests_.size(), 6U);
  EXPECT_THAT(answer_to(listener_.port(), "NONSENSE / HTTP/1.1\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_EQ(requests_.size(), 6U);
}

TEST_F(HttpListenerTest, LongBodiesAreRefused) {
  EXPECT_EQ(client_.Post("/", std::string(kMaxBytes, 'x'), "text/plain")->status, 200);
  const auto reply = client_.Post("/", std::string(kMaxBytes + 1, 'x'), "text/plain");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 413);
  EXPECT_THAT(reply->body, HasSubstr("at most 100 bytes"));
  const std::string chunked =
      "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_THAT(answer_to(listener_.port(), chunked + "2\r\nab\r\n0\r\n\r\n"), HasSubstr("got ab"));
  EXPECT_THAT(
      answer_to(listener_.port(), chunked + "65\r\n" + std::string(101, 'x') + "\r\n0\r\n\r\n"),
      StartsWith("HTTP/1.1 413"));
  EXPECT_EQ(requests_.size(), 2U);
}

TEST_F(HttpListenerTest, FormsAreRefused) {
  const httplib::MultipartFormDataItems form = {{"name", "content", "file.txt", "text/plain"}};
  const auto reply = client_.Post("/", form);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 415);
  EXPECT_THAT(requests_, IsEmpty());
}

TEST_F(HttpListenerTest, NothingAfterARequestIsTakenForAnother) {
  const std::string smuggled =
      "POST /second HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n";
  answer_to(listener_.port(),
            "GET /first HTTP/1.1\r\nHost: evil\r\nContent-Length: " +
                std::to_string(smuggled.size()) + "\r\n\r\n",
            smuggled);
  ASSERT_EQ(requests_.size(), 1U);
  EXPECT_EQ(requests_[0].path, "/first");
}

TEST_F(HttpListenerTest, OnlyLoopbackListens) {
  in_addr loopback = {};
  loopback.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_TRUE(can_connect(loopback, listener_.port()));
  const std::vector<in_addr> others = other_addresses();
  if (others.empty()) GTEST_SKIP() << "this machine has no address but loopback";
  for (const in_addr& address : others) EXPECT_FALSE(can_connect(address, listener_.port()));
}

TEST_F(HttpListenerTest, ATakenPortIsRefused) {
  const int port = listener_.port();
  EXPECT_THAT(error_of([&] { HttpListener(port, kMaxBytes, {}); }),
              HasSubstr("must be free, but another program listens there"));
}

TEST_F(HttpListenerTest, APortIsFreeAgainAfterwards) {
  const auto answer = [](const HttpRequest&) { return HttpReply{200, "text/plain", "x", {}}; };
  int port = 0;
  {
    const HttpListener first(0, kMaxBytes, answer);
    port = first.port();
    EXPECT_TRUE(httplib::Client("127.0.0.1", port).Get("/"));
  }
  EXPECT_FALSE(httplib::Client("127.0.0.1", port).Get("/"));
  EXPECT_EQ(HttpListener(port, kMaxBytes, answer).port(), port);
}

}  // namespace
}  // namespace zoetrope::test
