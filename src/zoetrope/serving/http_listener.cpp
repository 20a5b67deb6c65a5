#include "zoetrope/serving/http_listener.h"

#include <optional>
#include <thread>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr const char* kLoopback = "127.0.0.1";
constexpr int kReadTimeoutSec = 5;
constexpr int kMaxStatusWithoutError = 399;

// httplib's own options let two servers share a port.
void let_port_be_reused_when_free(socket_t socket) {
  const int yes = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
}

/// None when the body is longer than `max_bytes`, also after decompression.
std::optional<std::string> read_body(const httplib::ContentReader& reader, size_t max_bytes) {
  std::string body;
  const bool whole = reader([&](const char* data, size_t num_bytes) {
    if (body.size() + num_bytes > max_bytes) return false;
    body.append(data, num_bytes);
    return true;
  });
  if (!whole) return std::nullopt;
  return body;
}

HttpRequest to_request(const httplib::Request& from, std::string body) {
  const std::string type = from.get_header_value("Content-Type");
  return {.method = from.method == "HEAD" ? "GET" : from.method,
          .path = from.path,
          .host = from.get_header_value("Host"),
          .origin = from.get_header_value("Origin"),
          .content_type = type.substr(0, type.find(';')),
          .body = std::move(body)};
}

void set_reply(const HttpReply& reply, httplib::Response& to) {
  to.status = reply.status;
  for (const auto& [name, value] : reply.headers) to.set_header(name.c_str(), value.c_str());
  to.set_content(reply.body, reply.content_type.c_str());
}

}  // namespace

HttpReply error_reply(int status, const std::string& message) {
  return {.status = status,
          .content_type = "application/json",
          .body = nlohmann::json{{"error", message}}.dump(-1, ' ', false,
                                                          nlohmann::json::error_handler_t::replace),
          .headers = {}};
}

class HttpListener::Impl {
 public:
  Impl(int port, size_t max_body_bytes, Answer answer)
      : max_body_bytes_(max_body_bytes), answer_(std::move(answer)) {
    configure();
    add_routes();
    port_ = port == 0 ? server_.bind_to_any_port(kLoopback) : bind(port);
    if (port_ <= 0) {
      fail("port {} of {}: must be free, but another program listens there; choose another, or 0",
           port, kLoopback);
    }
    // The socket listens from here on; the thread accepts.
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~Impl() {
    server_.stop();
    thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  int port() const { return port_; }

 private:
  int bind(int port) { return server_.bind_to_port(kLoopback, port) ? port : 0; }

  void configure() {
    server_.set_socket_options(let_port_be_reused_when_free);
    server_.set_tcp_nodelay(true);
    server_.set_keep_alive_max_count(1);
    server_.set_keep_alive_timeout(1);  // connections without a request delay the end
    server_.set_read_timeout(kReadTimeoutSec, 0);
    server_.set_payload_max_length(max_body_bytes_);
    // What the library refuses by itself has no body.
    server_.set_error_handler([](const httplib::Request& request, httplib::Response& response) {
      if (response.status <= kMaxStatusWithoutError || !response.body.empty()) return;
      set_reply(error_reply(response.status,
                            request.method + " " + request.path + ": cannot be answered"),
                response);
    });
  }

  void add_routes() {
    constexpr const char* kAll = ".*";
    const auto without_body = [this](const httplib::Request& request, httplib::Response& response) {
      set_reply(answer_(to_request(request, {})), response);
    };
    const auto with_body = [this](const httplib::Request& request, httplib::Response& response,
                                  const httplib::ContentReader& reader) {
      set_reply(answer_with_body(request, reader), response);
    };
    server_.Get(kAll, without_body);
    server_.Options(kAll, without_body);
    server_.Post(kAll, with_body);
    server_.Put(kAll, with_body);
    server_.Patch(kAll, with_body);
    server_.Delete(kAll, with_body);
  }

  HttpReply answer_with_body(const httplib::Request& request,
                             const httplib::ContentReader& reader) {
    // The library would read forms in a way of its own.
    if (request.is_multipart_form_data())
      return error_reply(415, "the body must be JSON, but is a form");
    const std::optional<std::string> body = read_body(reader, max_body_bytes_);
    if (!body) {
      return error_reply(
          413, fmt::format("the body must come whole and have at most {} bytes", max_body_bytes_));
    }
    return answer_(to_request(request, *body));
  }

  size_t max_body_bytes_;
  Answer answer_;
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

HttpListener::HttpListener(int port, size_t max_body_bytes, Answer answer)
    : impl_(std::make_unique<Impl>(port, max_body_bytes, std::move(answer))) {}
HttpListener::~HttpListener() = default;
int HttpListener::port() const {
  return impl_->port();
}

}  // namespace zoetrope
