#include "zoetrope/checkpoint/pickle/reader.h"

#include <array>
#include <cstring>
#include <unordered_map>

#include "zoetrope/base/error.h"
#include "zoetrope/checkpoint/pickle/machine.h"

namespace zoetrope {
namespace {

using Handler = void (*)(PickleMachine&);

struct Opcode {
  unsigned char code;
  Handler handler;
};

using Kind = PickleGraph::Kind;

constexpr std::array kScalarOpcodes = {
    Opcode{'N', [](PickleMachine& m) { m.push(PickleGraph::kNone); }},
    Opcode{0x88, [](PickleMachine& m) { m.push_scalar(true); }},
    Opcode{0x89, [](PickleMachine& m) { m.push_scalar(false); }},
    Opcode{'J', [](PickleMachine& m) { m.push_scalar(int64_t{m.take<int32_t>()}); }},
    Opcode{'K', [](PickleMachine& m) { m.push_scalar(int64_t{m.take<uint8_t>()}); }},
    Opcode{'M', [](PickleMachine& m) { m.push_scalar(int64_t{m.take<uint16_t>()}); }},
    Opcode{0x8a, [](PickleMachine& m) { m.push_long(m.take<uint8_t>()); }},
    Opcode{'G', [](PickleMachine& m) { m.push_big_endian_float(); }},
    Opcode{'X', [](PickleMachine& m) { m.push_text(Kind::kScalar, m.take<uint32_t>()); }},
    Opcode{0x8c, [](PickleMachine& m) { m.push_text(Kind::kScalar, m.take<uint8_t>()); }},
    Opcode{0x8d, [](PickleMachine& m) { m.push_text(Kind::kScalar, m.take<uint64_t>()); }},
    Opcode{'B', [](PickleMachine& m) { m.push_text(Kind::kBytes, m.take<uint32_t>()); }},
    Opcode{'C', [](PickleMachine& m) { m.push_text(Kind::kBytes, m.take<uint8_t>()); }},
    Opcode{0x8e, [](PickleMachine& m) { m.push_text(Kind::kBytes, m.take<uint64_t>()); }},
    Opcode{0x96, [](PickleMachine& m) { m.push_text(Kind::kBytes, m.take<uint64_t>()); }},
};

constexpr std::array kContainerOpcodes = {
    Opcode{'(', [](PickleMachine& m) { m.mark(); }},
    Opcode{')', [](PickleMachine& m) { m.push_container(Kind::kTuple, 0); }},
    Opcode{0x85, [](PickleMachine& m) { m.push_container(Kind::kTuple, 1); }},
    Opcode{0x86, [](PickleMachine& m) { m.push_container(Kind::kTuple, 2); }},
    Opcode{0x87, [](PickleMachine& m) { m.push_container(Kind::kTuple, 3); }},
    Opcode{'t', [](PickleMachine& m) { m.push_container(Kind::kTuple, m.num_marked()); }},
    Opcode{0x91, [](PickleMachine& m) { m.push_container(Kind::kSet, m.num_marked()); }},
    Opcode{']', [](PickleMachine& m) { m.push_container(Kind::kList, 0); }},
    Opcode{'}', [](PickleMachine& m) { m.push_container(Kind::kDict, 0); }},
    Opcode{0x8f, [](PickleMachine& m) { m.push_container(Kind::kSet, 0); }},
    Opcode{'a', [](PickleMachine& m) { m.append(Kind::kList, 1); }},
    Opcode{'e', [](PickleMachine& m) { m.append(Kind::kList, m.num_marked()); }},
    Opcode{0x90, [](PickleMachine& m) { m.append(Kind::kSet, m.num_marked()); }},
    Opcode{'s', [](PickleMachine& m) { m.append(Kind::kDict, 2); }},
    Opcode{'u', [](PickleMachine& m) { m.append(Kind::kDict, m.num_marked()); }},
};

constexpr std::array kObjectOpcodes = {
    Opcode{0x80, [](PickleMachine& m) { m.check_protocol(m.take<uint8_t>()); }},
    Opcode{0x95, [](PickleMachine& m) { m.check_length(m.take<uint64_t>()); }},
    Opcode{'c', [](PickleMachine& m) { m.push_global_lines(); }},
    Opcode{0x93, [](PickleMachine& m) { m.push_global_of_stack(); }},
    Opcode{'R', [](PickleMachine& m) { m.make_object(/*called=*/true); }},
    Opcode{0x81, [](PickleMachine& m) { m.make_object(/*called=*/false); }},
    Opcode{'b', [](PickleMachine& m) { m.set_state(); }},
    Opcode{'Q', [](PickleMachine& m) { m.push_container(Kind::kPersistentId, 1); }},
    Opcode{'q', [](PickleMachine& m) { m.store(m.take<uint8_t>()); }},
    Opcode{'r', [](PickleMachine& m) { m.store(m.take<uint32_t>()); }},
    Opcode{0x94, [](PickleMachine& m) { m.store_next(); }},
    Opcode{'h', [](PickleMachine& m) { m.load(m.take<uint8_t>()); }},
    Opcode{'j', [](PickleMachine& m) { m.load(m.take<uint32_t>()); }},
};

constexpr std::array<Handler, 256> handlers() {
  std::array<Handler, 256> table{};
  for (const Opcode& opcode : kScalarOpcodes) table[opcode.code] = opcode.handler;
  for (const Opcode& opcode : kContainerOpcodes) table[opcode.code] = opcode.handler;
  for (const Opcode& opcode : kObjectOpcodes) table[opcode.code] = opcode.handler;
  return table;
}

PickleValue run(PickleMachine& machine) {
  constexpr uint8_t kStop = '.';
  constexpr std::array<Handler, 256> kHandlers = handlers();
  while (true) {
    const auto code = machine.take<uint8_t>();
    if (code == kStop) return machine.finish();
    const Handler handler = kHandlers[code];
    if (handler == nullptr)
      fail<CheckpointError>("the opcode must be one that torch writes, but is 0x{:02x}", code);
    handler(machine);
  }
}

}  // namespace

PickleValue read_pickle(std::string_view bytes, const std::string& where,
                        const PickleGlobals& allowed_globals, PickleLimits limits) {
  PickleMachine machine(bytes, allowed_globals, limits);
  try {
    return run(machine);
  } catch (const CheckpointError& error) {
    fail<CheckpointError>("{}: pickle, byte {} of {}: {}", where, machine.offset(), bytes.size(),
                          error.what());
  }
}

}  // namespace zoetrope
