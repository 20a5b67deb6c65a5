// The key-value store through which the ranks of a run find each other: c10d's TCPStore, listening
// at one address only. Knows no ranks. See docs/decisions/0011-launch.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <c10/util/intrusive_ptr.h>

namespace c10d {
class Store;
}

namespace zoetrope {

struct StoreAddress {
  std::string host;
  int64_t port = 0;

  std::string text() const;  ///< `host:port`
};

struct HostedStore {
  c10::intrusive_ptr<c10d::Store> store;
  int64_t port = 0;
};

/// Serves a store at `address` (port 0: any free one) until it is released. Throws DistributedError
/// when the address is not this machine's or the port is in use.
HostedStore host_store(const StoreAddress& address);

/// Connects to the store at `address`, waiting up to `timeout` for it to be there. Throws
/// DistributedError when nothing listens there, or something that is no store.
c10::intrusive_ptr<c10d::Store> connect_store(const StoreAddress& address,
                                              std::chrono::milliseconds timeout);

/// Throws DistributedError for a store that has ended, with what serves it.
[[noreturn]] void fail_without_store(const StoreAddress& address, const std::string& server);

/// This machine's address on the way to `address`: the loopback address when that is one.
std::string local_address_towards(const StoreAddress& address);

}  // namespace zoetrope
