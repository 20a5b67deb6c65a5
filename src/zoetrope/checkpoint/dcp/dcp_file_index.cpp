#include "zoetrope/checkpoint/dcp/dcp_file_index.h"

#include <nlohmann/json.hpp>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using nlohmann::json;

json path_to_json(const DcpPath& path) {
  json parts = json::array();
  for (const auto& part : path)
    std::visit([&](const auto& value) { parts.push_back(value); }, part);
  return parts;
}

DcpPath path_of(const json& parts) {
  DcpPath path;
  for (const json& part : parts) {
    if (part.is_string()) {
      path.emplace_back(part.get<std::string>());
    } else {
      path.emplace_back(part.get<int64_t>());
    }
  }
  return path;
}

json record_to_json(const DcpRecord& record) {
  return {{"path", path_to_json(record.path)},
          {"is_tensor", record.is_tensor},
          {"dtype", static_cast<int>(record.dtype)},
          {"shape", record.shape},
          {"offsets", record.box.offsets},
          {"sizes", record.box.sizes},
          {"offset", record.offset},
          {"num_bytes", record.num_bytes}};
}

DcpRecord record_of_json(const json& stored) {
  DcpRecord record;
  record.path = path_of(stored.at("path"));
  record.key = dcp_key(record.path);
  record.is_tensor = stored.at("is_tensor");
  record.dtype = static_cast<at::ScalarType>(stored.at("dtype").get<int>());
  record.shape = stored.at("shape").get<std::vector<int64_t>>();
  record.box = {stored.at("offsets").get<std::vector<int64_t>>(),
                stored.at("sizes").get<std::vector<int64_t>>()};
  record.offset = stored.at("offset");
  record.num_bytes = stored.at("num_bytes");
  return record;
}

}  // namespace

std::string write_file_index(const DcpFileIndex& index) {
  json records = json::array();
  for (const DcpRecord& record : index.records) records.push_back(record_to_json(record));
  return json{{"file", index.file},
              {"num_bytes", index.num_bytes},
              {"checksum", index.checksum},
              {"records", std::move(records)}}
      .dump();
}

DcpFileIndex read_file_index(const std::string& text) {
  try {
    const json stored = json::parse(text);
    DcpFileIndex index{stored.at("file"), stored.at("num_bytes"), stored.at("checksum"), {}};
    for (const json& record : stored.at("records")) index.records.push_back(record_of_json(record));
    return index;
  } catch (const json::exception& error) {
    fail<CheckpointError>("checkpoint file index: must be what another rank wrote, but: {}",
                          error.what());
  }
}

}  // namespace zoetrope
