// Short texts that the ranks of a run leave for each other, outside of collectives: usable from any
// thread and in any order.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <c10/util/intrusive_ptr.h>

namespace c10d {
class Store;
}

namespace zoetrope {

class MessageBoard {
 public:
  /// Of a rank alone.
  MessageBoard();
  /// Texts are kept in `store`. read() waits for `timeout` at most, or until
  /// `throw_if_failed` throws, since a text of a rank that has failed will not come.
  MessageBoard(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t num_ranks,
               std::chrono::milliseconds timeout, std::function<void()> throw_if_failed = {});
  ~MessageBoard();
  MessageBoard(const MessageBoard&) = delete;
  MessageBoard& operator=(const MessageBoard&) = delete;

  int64_t rank() const { return rank_; }
  int64_t num_ranks() const { return num_ranks_; }

  void post(const std::string& key, const std::string& text);
  /// The text that some rank has posted, or will. Throws DistributedError, saying what is missing,
  /// when it does not come in time.
  std::string read(const std::string& key);

 private:
  c10::intrusive_ptr<c10d::Store> store_;
  int64_t rank_ = 0;
  int64_t num_ranks_ = 1;
  std::chrono::milliseconds timeout_{0};
  std::function<void()> throw_if_failed_;
};

}  // namespace zoetrope
