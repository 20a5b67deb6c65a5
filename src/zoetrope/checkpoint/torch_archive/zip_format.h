// Numbers of the zip format that reader and writer share. Source: PKWARE's APPNOTE 6.3.
#pragma once

#include <cstdint>

namespace zoetrope::zip {

inline constexpr uint32_t kLocalHeader = 0x04034b50;
inline constexpr uint32_t kDataDescriptor = 0x08074b50;
inline constexpr uint32_t kDirectoryEntry = 0x02014b50;
inline constexpr uint32_t kZip64End = 0x06064b50;
inline constexpr uint32_t kZip64Locator = 0x07064b50;
inline constexpr uint32_t kEnd = 0x06054b50;

inline constexpr uint64_t kLocalHeaderBytes = 30;
inline constexpr uint64_t kDirectoryEntryBytes = 46;
inline constexpr uint64_t kZip64EndBytes = 56;
inline constexpr uint64_t kZip64LocatorBytes = 20;
inline constexpr uint64_t kEndBytes = 22;

/// Methods of compression.
inline constexpr uint16_t kStored = 0;
inline constexpr uint16_t kDeflated = 8;

inline constexpr uint16_t kZip64Extra = 0x0001;
/// In a 16- or 32-bit field: the zip64 field has the number.
inline constexpr uint16_t kIn64Short = 0xffff;
inline constexpr uint32_t kIn64 = 0xffffffff;

}  // namespace zoetrope::zip
