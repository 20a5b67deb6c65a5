#include "zoetrope/serving/play_protocol.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using nlohmann::json;

constexpr size_t kMaxListLength = 64;
constexpr double kMaxLatencyMs = 3.6e6;

json parse_object(const std::string& body, const std::set<std::string>& members) {
  json object = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) fail<DataError>("the body must be a JSON object, but is none");
  for (const auto& [name, value] : object.items()) {
    if (!members.contains(name))
      fail<DataError>("the body must hold {} only, but has '{}'", fmt::join(members, ", "), name);
  }
  return object;
}

std::string session_of(const json& object) {
  const auto session = object.find("session");
  if (session == object.end() || !session->is_string())
    fail<DataError>("session: must be the text that POST /session gave, but is missing");
  return session->get<std::string>();
}

/// The list `name`; empty when it is missing.
template <class Value, class IsValid>
std::vector<Value> list_of(const json& object, const std::string& name, const std::string& what,
                           const IsValid& is_valid) {
  const auto list = object.find(name);
  if (list == object.end()) return {};
  if (!list->is_array() || list->size() > kMaxListLength ||
      !std::all_of(list->begin(), list->end(), is_valid)) {
    fail<DataError>("{}: must be a list of at most {} {}, but is not", name, kMaxListLength, what);
  }
  return list->template get<std::vector<Value>>();
}

bool is_latency(const json& value) {
  return value.is_number() && value.get<double>() >= 0.0 && value.get<double>() <= kMaxLatencyMs;
}

}  // namespace

FramesRequest parse_frames_request(const std::string& body) {
  const json object = parse_object(body, {"session", "keys", "restart", "latencies_ms"});
  FramesRequest request;
  request.session = session_of(object);
  request.keys = list_of<std::string>(object, "keys", "names",
                                      [](const json& value) { return value.is_string(); });
  request.latencies_ms =
      list_of<double>(object, "latencies_ms", "milliseconds within an hour", is_latency);
  if (const auto restart = object.find("restart"); restart != object.end()) {
    if (!restart->is_boolean()) fail<DataError>("restart: must be true or false, but is neither");
    request.restart = restart->get<bool>();
  }
  return request;
}

std::string parse_end_request(const std::string& body) {
  return session_of(parse_object(body, {"session"}));
}

void PlayStatistics::add_latencies(const std::vector<double>& latencies_ms) {
  for (const double latency_ms : latencies_ms) {
    ++num_latencies;
    sum_latency_ms += latency_ms;
    max_latency_ms = std::max(max_latency_ms, latency_ms);
  }
}

std::string PlayStatistics::describe() const {
  if (num_frames == 0) return "no frames were asked for";
  std::string text = fmt::format("{} frames, generated at {:.1f} frames/s", num_frames,
                                 static_cast<double>(num_frames) / std::max(generation_sec, 1e-9));
  if (num_latencies > 0) {
    text += fmt::format("; from key to frame {:.0f} ms in the mean, {:.0f} ms at most, {} times",
                        sum_latency_ms / static_cast<double>(num_latencies), max_latency_ms,
                        num_latencies);
  }
  return text;
}

}  // namespace zoetrope
