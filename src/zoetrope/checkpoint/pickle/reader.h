// Reads a Python pickle (protocols 2 to 5, as torch writes them) as data: opcodes and the names of
// classes and functions are held against allow-lists, and nothing is imported, called or executed.
// Source: the opcode table of CPython's pickletools.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "zoetrope/checkpoint/pickle/graph.h"
#include "zoetrope/checkpoint/pickle/value.h"

namespace zoetrope {

/// Names `module.name` of classes and functions that a pickle may mention.
using PickleGlobals = std::set<std::string, std::less<>>;

/// The value of the pickle `bytes`, which must end with it. `where` (the file) begins each message.
/// Python's own ways to write bytes and sets under protocol 2 come out as bytes and sets.
/// Throws CheckpointError with the byte offset for an opcode or a name outside the allow-lists, and
/// for truncated, cyclic, too deep, too large or otherwise broken pickles.
PickleValue read_pickle(std::string_view bytes, const std::string& where,
                        const PickleGlobals& allowed_globals, PickleLimits limits = {});

}  // namespace zoetrope
