// A world of one white square that four keys (up, down, left, right) and a mouse move, one pixel a
// frame: what a page shows can be told from what was pressed.
#pragma once

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "zoetrope/serving/play_session.h"

namespace zoetrope::test {

class FakePlaySession : public PlaySession {
 public:
  static constexpr int kWidth = 48;
  static constexpr int kHeight = 32;
  static constexpr int kSquare = 4;
  static constexpr size_t kFramesPerBlock = 4;

  void restart() override {
    ++num_restarts;
    x_ = (kWidth - kSquare) / 2;
    y_ = (kHeight - kSquare) / 2;
  }

  std::vector<media::Frame> next_frames(const PlayActions& actions) override {
    if (fails) throw std::runtime_error("the fake model fails");
    std::this_thread::sleep_for(block_time);
    received.push_back(actions);
    std::vector<media::Frame> frames;
    while (frames.size() < kFramesPerBlock) {
      move(actions);
      frames.push_back(picture());
    }
    return frames;
  }

  std::chrono::milliseconds block_time{0};
  bool fails = false;
  int num_restarts = 0;
  std::vector<PlayActions> received;

 private:
  void move(const PlayActions& actions) {
    const std::vector<float>& keys = actions.keyboard;
    x_ = std::clamp(x_ + static_cast<int>(keys[3] - keys[2]), 0, kWidth - kSquare);
    y_ = std::clamp(y_ + static_cast<int>(keys[1] - keys[0]), 0, kHeight - kSquare);
  }
  media::Frame picture() const {
    media::Frame frame(kWidth, kHeight);
    for (int row = 0; row < kSquare; ++row)
      std::fill_n(frame.pixel(x_, y_ + row), 3 * kSquare, uint8_t{255});
    return frame;
  }

  int x_ = 0;
  int y_ = 0;
};

}  // namespace zoetrope::test
