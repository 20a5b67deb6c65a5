#include "zoetrope/distributed/message_board.h"

#include <thread>

#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "zoetrope/base/error.h"

namespace zoetrope {

MessageBoard::MessageBoard() : store_(c10::make_intrusive<c10d::HashStore>()) {}

MessageBoard::MessageBoard(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t num_ranks,
                           std::chrono::milliseconds timeout, std::function<void()> throw_if_failed)
    : store_(std::move(store)),
      rank_(rank),
      num_ranks_(num_ranks),
      timeout_(timeout),
      throw_if_failed_(std::move(throw_if_failed)) {}

MessageBoard::~MessageBoard() = default;

void MessageBoard::post(const std::string& key, const std::string& text) {
  store_->set(key, std::vector<uint8_t>(text.begin(), text.end()));
}

std::string MessageBoard::read(const std::string& key) {
  // Store::wait would keep other threads of this process out of the store.
  constexpr auto kPause = std::chrono::milliseconds(2);
  const auto deadline = std::chrono::steady_clock::now() + timeout_;
  while (!store_->check({key})) {
    if (throw_if_failed_) throw_if_failed_();
    if (std::chrono::steady_clock::now() > deadline) {
      fail<DistributedError>("rank {}: '{}' must come from another rank within {} s, but did not",
                             rank_, key,
                             std::chrono::duration_cast<std::chrono::seconds>(timeout_).count());
    }
    std::this_thread::sleep_for(kPause);
  }
  const std::vector<uint8_t> text = store_->get(key);
  return {text.begin(), text.end()};
}

}  // namespace zoetrope
