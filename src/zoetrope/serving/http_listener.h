// Serves HTTP/1.1 on this machine's loopback address (127.0.0.1) with one function that answers
// every request. Knows no routes. Each connection serves one request, so that nothing of a refused
// body can be taken for the next one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace zoetrope {

struct HttpRequest {
  std::string method;  ///< GET stands for HEAD, too
  std::string path;
  std::string host;          ///< Host header
  std::string origin;        ///< Origin header; empty when there is none
  std::string content_type;  ///< without parameters
  std::string body;
};

struct HttpReply {
  int status = 200;
  std::string content_type;
  std::string body;
  std::map<std::string, std::string> headers;
};

/// {"error": message} with `status`.
HttpReply error_reply(int status, const std::string& message);

class HttpListener {
 public:
  /// Called by several threads at once.
  using Answer = std::function<HttpReply(const HttpRequest& request)>;

  /// Listens on `port`, or on a free one when that is 0, until destruction. Bodies longer than
  /// `max_body_bytes` are refused with 413. Throws Error when the port is taken.
  HttpListener(int port, size_t max_body_bytes, Answer answer);
  /// Waits for the answers under way.
  ~HttpListener();
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;

  int port() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zoetrope
