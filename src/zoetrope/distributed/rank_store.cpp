#include "zoetrope/distributed/rank_store.h"

#include <cerrno>
#include <cstring>
#include <future>
#include <memory>
#include <thread>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <unistd.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kRetryPause(100);
// A store answers in well under a millisecond.
constexpr milliseconds kAnswerTimeout(5000);
// No call of ours waits in the store; this one is for a server that has died without a word.
constexpr milliseconds kOperationTimeout(30000);

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int descriptor() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

/// Empty, with `error`, when the host is not known.
AddressList resolve(const StoreAddress& address, int socket_type, std::string& error) {
  addrinfo hints{};
  hints.ai_socktype = socket_type;
  addrinfo* list = nullptr;
  const int status =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &list);
  if (status != 0) error = gai_strerror(status);
  return {list, freeaddrinfo};
}

int64_t port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

/// Connects to one of the addresses of `to`, or says why not.
bool connects(const addrinfo& to, std::string& error) {
  const Socket socket(
      ::socket(to.ai_family, to.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to.ai_protocol));
  int status = connect(socket.descriptor(), to.ai_addr, to.ai_addrlen) == 0 ? 0 : errno;
  if (status == EINPROGRESS) {
    constexpr int kConnectTimeoutMs = 3000;
    pollfd events{socket.descriptor(), POLLOUT, 0};
    status = ETIMEDOUT;
    socklen_t size = sizeof(status);
    if (poll(&events, 1, kConnectTimeoutMs) > 0)
      getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &status, &size);
  }
  if (status != 0) error = std::strerror(status);
  return status == 0;
}

/// Waits until something listens: c10d's own attempts print pages of stack frames.
void wait_for_listener(const StoreAddress& address, milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (true) {
    std::string error;
    const AddressList list = resolve(address, SOCK_STREAM, error);
    for (const addrinfo* to = list.get(); to != nullptr; to = to->ai_next)
      if (connects(*to, error)) return;
    if (Clock::now() >= deadline) {
      fail<DistributedError>(
          "rendezvous at {}: the store of rank 0 must be there within {} s, but it cannot be "
          "reached: {}; is rank 0 running, and is this its address (MASTER_ADDR, MASTER_PORT)?",
          address.text(), static_cast<double>(timeout.count()) / 1e3, error);
    }
    std::this_thread::sleep_for(kRetryPause);
  }
}

/// A socket bound to exactly this address; not listening yet.
int bind_to(const StoreAddress& address) {
  std::string error;
  const AddressList list = resolve(address, SOCK_STREAM, error);
  int status = 0;
  for (const addrinfo* at = list.get(); at != nullptr; at = at->ai_next) {
    Socket socket(::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol));
    const int yes = 1;  // a port that the run before has just left is free
    setsockopt(socket.descriptor(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(socket.descriptor(), at->ai_addr, at->ai_addrlen) == 0 &&
        listen(socket.descriptor(), SOMAXCONN) == 0)
      return socket.release();
    status = errno;
    error = std::strerror(errno);
  }
  const char* hint = status == EADDRINUSE
                         ? "another program, perhaps another run, listens there; choose another "
                           "port (MASTER_PORT, or --rdzv-endpoint of zoetrope launch)"
                     : status == EADDRNOTAVAIL
                         ? "the address (MASTER_ADDR, or --rdzv-endpoint of zoetrope launch) must "
                           "be one of the machine that rank 0 runs on"
                         : "give an address of the machine that rank 0 runs on";
  fail<DistributedError>("rendezvous at {}: must be free to listen at, but got: {}; {}",
                         address.text(), error, hint);
}

c10d::TCPStoreOptions store_options(int64_t port) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(port);
  options.waitWorkers = false;
  options.timeout = kOperationTimeout;
  return options;
}

}  // namespace

std::string StoreAddress::text() const {
  return fmt::format("{}:{}", host, port);
}

HostedStore host_store(const StoreAddress& address) {
  const int descriptor = bind_to(address);
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&bound), &size);
  c10d::TCPStoreOptions options = store_options(port_of(bound));
  options.isServer = true;
  options.masterListenFd = descriptor;
  return {c10::make_intrusive<c10d::TCPStore>(address.host, options), port_of(bound)};
}

c10::intrusive_ptr<c10d::Store> connect_store(const StoreAddress& address, milliseconds timeout) {
  wait_for_listener(address, timeout);
  // c10d waits for ever for a program that listens and says nothing. The thread that is left
  // behind then ends with the process, which has nothing else to do.
  using StorePtr = c10::intrusive_ptr<c10d::Store>;
  std::packaged_task<StorePtr()> connecting([address]() -> StorePtr {
    auto store = c10::make_intrusive<c10d::TCPStore>(address.host, store_options(address.port));
    return store;
  });
  std::future<StorePtr> connected = connecting.get_future();
  std::thread(std::move(connecting)).detach();
  const char* reason = "it does not answer as one";
  if (connected.wait_for(kAnswerTimeout) == std::future_status::ready) {
    try {
      return connected.get();
    } catch (const std::exception&) {
      reason = "it closes the connection";
    }
  }
  fail<DistributedError>(
      "rendezvous at {}: the store of rank 0 must listen there, but {}: another program uses the "
      "port; choose another one (MASTER_PORT, or --rdzv-endpoint of zoetrope launch)",
      address.text(), reason);
}

void fail_without_store(const StoreAddress& address, const std::string& server) {
  fail<DistributedError>("rendezvous at {}: the store must answer, but does not: {} has ended",
                         address.text(), server);
}

std::string local_address_towards(const StoreAddress& address) {
  std::string error;
  const AddressList list = resolve(address, SOCK_DGRAM, error);
  for (const addrinfo* to = list.get(); to != nullptr; to = to->ai_next) {
    // Connecting a datagram socket sends nothing, it only chooses the way.
    const Socket socket(::socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, 0));
    sockaddr_storage local{};
    socklen_t size = sizeof(local);
    char host[NI_MAXHOST] = {};
    if (connect(socket.descriptor(), to->ai_addr, to->ai_addrlen) == 0 &&
        getsockname(socket.descriptor(), reinterpret_cast<sockaddr*>(&local), &size) == 0 &&
        getnameinfo(reinterpret_cast<sockaddr*>(&local), size, host, sizeof(host), nullptr, 0,
                    NI_NUMERICHOST) == 0)
      return host;
    error = std::strerror(errno);
  }
  fail<DistributedError>("rendezvous at {}: must be an address that this machine reaches, but: {}",
                         address.text(), error);
}

}  // namespace zoetrope
