// Names of the keys that steer a model, and what the model is given when some are pressed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "zoetrope/serving/play_session.h"

namespace zoetrope {

class PlayControls {
 public:
  /// `keys`: one name for each of the model's keys, a letter, digit or sign, or up, down, left,
  /// right, space, enter, shift; or `none`, for a key that is down while no other is. With a mouse
  /// the arrow keys move it by `mouse_step` (0: there is no mouse). Throws ConfigError for other
  /// names and for names given twice.
  PlayControls(std::vector<std::string> keys, double mouse_step);

  /// Names for `num_keys` keys when none are given: w, s, a, d, q, e. Throws ConfigError above 6.
  static std::vector<std::string> default_keys(int64_t num_keys);

  /// All names that may be pressed, the arrows of the mouse last.
  const std::vector<std::string>& names() const { return names_; }
  bool has_mouse() const { return mouse_step_ > 0.0; }
  /// What the model is given. Throws DataError for names that are not among names().
  PlayActions actions(const std::vector<std::string>& pressed) const;

 private:
  void add_name(const std::string& name);

  std::vector<std::string> keys_;
  std::vector<std::string> names_;
  double mouse_step_;
};

}  // namespace zoetrope
