#include "zoetrope/checkpoint/pickle/writer.h"

#include <bit>
#include <limits>
#include <map>

#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/pickle/latin1.h"

namespace zoetrope {
namespace {

class Writer {
 public:
  void write(const PickleValue& value) {
    std::visit([this](const auto& data) { put(data); }, value.node().data);
  }

  std::string finish() {
    out_.push_back('.');
    return std::move(out_);
  }

 private:
  using Entries = std::vector<std::pair<PickleValue, PickleValue>>;

  void put(std::monostate) { out_.push_back('N'); }
  void put(bool value) { put_byte(value ? 0x88 : 0x89); }
  void put(int64_t value);
  void put(double value);
  void put(const std::string& value);
  void put(const PickleBytes& value);
  void put(const PickleList& value);
  void put(const PickleTuple& value) { put_tuple(value.elements); }
  void put(const PickleSet& value);
  void put(const PickleDict& value);
  void put(const PickleGlobal& value) { put_global(value.name); }
  void put(const PickleObject& value);
  void put(const PicklePersistentId& value);

  void put_byte(unsigned value) { out_.push_back(static_cast<char>(value)); }
  void put_number(uint64_t value, size_t num_bytes) {
    for (size_t i = 0; i < num_bytes; ++i) put_byte((value >> (8 * i)) & 0xFFU);
  }
  void put_marked(const std::vector<PickleValue>& elements, char opcode);
  void put_tuple(const std::vector<PickleValue>& elements);
  void put_entries(const Entries& entries);
  void put_global(const std::string& name);
  // Refers to what was written under `key` before; false when this is the first time, and then the
  // caller writes it and calls remember().
  bool recall(const std::string& key);
  void remember(const std::string& key);

  std::string out_ = "\x80\x02";
  std::map<std::string, uint32_t> memo_;
};

void Writer::put(int64_t value) {
  if (value >= 0 && value <= std::numeric_limits<uint8_t>::max()) {
    out_.push_back('K');
    put_number(static_cast<uint64_t>(value), 1);
  } else if (value >= 0 && value <= std::numeric_limits<uint16_t>::max()) {
    out_.push_back('M');
    put_number(static_cast<uint64_t>(value), 2);
  } else if (value >= std::numeric_limits<int32_t>::min() &&
             value <= std::numeric_limits<int32_t>::max()) {
    out_.push_back('J');
    put_number(static_cast<uint64_t>(value), 4);
  } else {
    put_byte(0x8a);
    put_byte(8);
    put_number(static_cast<uint64_t>(value), 8);
  }
}

void Writer::put(double value) {
  out_.push_back('G');
  const auto bits = std::bit_cast<uint64_t>(value);
  for (int shift = 56; shift >= 0; shift -= 8) put_byte((bits >> shift) & 0xFFU);
}

void Writer::put(const std::string& value) {
  if (value.size() > std::numeric_limits<uint32_t>::max())
    fail<CheckpointError>("pickle: a string must have less than 4 GiB, but has {} bytes",
                          value.size());
  const std::string key = "s" + value;
  if (recall(key)) return;
  out_.push_back('X');
  put_number(value.size(), 4);
  out_ += value;
  remember(key);
}

void Writer::put(const PickleBytes& value) {
  put_global("_codecs.encode");
  put_tuple({PickleValue::string(utf8_of_latin1(value.bytes)), PickleValue::string("latin1")});
  out_.push_back('R');
}

void Writer::put(const PickleList& value) {
  out_.push_back(']');
  put_marked(value.elements, 'e');
}

void Writer::put(const PickleSet& value) {
  put_global("__builtin__.set");
  put_tuple({PickleValue::list(value.elements)});
  out_.push_back('R');
}

void Writer::put(const PickleDict& value) {
  out_.push_back('}');
  put_entries(value.entries);
}

void Writer::put(const PickleObject& value) {
  put_global(value.type);
  put_tuple(value.arguments());
  put_byte(value.called ? 'R' : 0x81);
  put_entries(value.entries);
  if (!value.state.is_none()) {
    write(value.state);
    out_.push_back('b');
  }
}

void Writer::put(const PicklePersistentId& value) {
  write(value.id);
  out_.push_back('Q');
}

void Writer::put_marked(const std::vector<PickleValue>& elements, char opcode) {
  if (elements.empty()) return;
  out_.push_back('(');
  for (const PickleValue& element : elements) write(element);
  out_.push_back(opcode);
}

void Writer::put_tuple(const std::vector<PickleValue>& elements) {
  constexpr size_t kMostWithoutMark = 3;
  if (elements.empty()) {
    out_.push_back(')');
  } else if (elements.size() > kMostWithoutMark) {
    put_marked(elements, 't');
  } else {
    for (const PickleValue& element : elements) write(element);
    put_byte(0x84U + static_cast<unsigned>(elements.size()));
  }
}

void Writer::put_entries(const Entries& entries) {
  if (entries.empty()) return;
  out_.push_back('(');
  for (const auto& [key, value] : entries) {
    write(key);
    write(value);
  }
  out_.push_back('u');
}

void Writer::put_global(const std::string& name) {
  const std::string key = "g" + name;
  if (recall(key)) return;
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos)
    fail<CheckpointError>("pickle: a name must be module.name, but is '{}'", name);
  out_ += "c" + name.substr(0, dot) + "\n" + name.substr(dot + 1) + "\n";
  remember(key);
}

bool Writer::recall(const std::string& key) {
  const auto found = memo_.find(key);
  if (found == memo_.end()) return false;
  const bool narrow = found->second <= std::numeric_limits<uint8_t>::max();
  out_.push_back(narrow ? 'h' : 'j');
  put_number(found->second, narrow ? 1 : 4);
  return true;
}

void Writer::remember(const std::string& key) {
  const auto index = static_cast<uint32_t>(memo_.size());
  memo_.emplace(key, index);
  const bool narrow = index <= std::numeric_limits<uint8_t>::max();
  out_.push_back(narrow ? 'q' : 'r');
  put_number(index, narrow ? 1 : 4);
}

}  // namespace

std::string write_pickle(const PickleValue& value) {
  Writer writer;
  writer.write(value);
  return writer.finish();
}

}  // namespace zoetrope
