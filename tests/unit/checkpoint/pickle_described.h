// Pickled values as the JSON of tools/reference/make_dcp_golden.py.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "zoetrope/checkpoint/pickle/value.h"

namespace zoetrope::test {

inline std::filesystem::path checkpoint_golden() {
  return std::filesystem::path(ZOETROPE_SOURCE_DIR) / "tests/golden/checkpoints";
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

inline std::string hex_of(const std::string& bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4U];
    hex += kDigits[static_cast<unsigned char>(c) & 15U];
  }
  return hex;
}

inline std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

nlohmann::json described(const PickleValue& value);

struct Described {
  using Json = nlohmann::json;
  Json all(const std::vector<PickleValue>& elements) const {
    Json list = Json::array();
    for (const PickleValue& element : elements) list.push_back(described(element));
    return list;
  }
  Json entries(const std::vector<std::pair<PickleValue, PickleValue>>& pairs) const {
    Json list = Json::array();
    for (const auto& [key, value] : pairs)
      list.push_back(Json::array({described(key), described(value)}));
    return {{"dict", list}};
  }
  Json operator()(std::monostate) const { return nullptr; }
  Json operator()(bool value) const { return value; }
  Json operator()(int64_t value) const { return value; }
  Json operator()(double value) const { return value; }
  Json operator()(const std::string& value) const { return value; }
  Json operator()(const PickleBytes& value) const { return {{"bytes", hex_of(value.bytes)}}; }
  Json operator()(const PickleList& value) const { return all(value.elements); }
  Json operator()(const PickleTuple& value) const { return {{"tuple", all(value.elements)}}; }
  Json operator()(const PickleSet& value) const { return {{"set", all(value.elements)}}; }
  Json operator()(const PickleDict& value) const { return entries(value.entries); }
  Json operator()(const PickleGlobal& value) const { return {{"global", value.name}}; }
  Json operator()(const PickleObject& value) const { return entries(value.entries); }
  Json operator()(const PicklePersistentId& value) const { return {{"id", described(value.id)}}; }
};

inline nlohmann::json described(const PickleValue& value) {
  return std::visit(Described(), value.node().data);
}

}  // namespace zoetrope::test
