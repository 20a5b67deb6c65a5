#include "zoetrope/serving/play_controls.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/ranges.h>

#include "zoetrope/base/error.h"

namespace zoetrope {
namespace {

constexpr const char* kNone = "none";

struct Arrow {
  const char* name;
  float up;
  float right;
};
constexpr std::array<Arrow, 4> kArrows = {
    {{"up", 1, 0}, {"down", -1, 0}, {"left", 0, -1}, {"right", 0, 1}}};

bool is_key_name(const std::string& name) {
  // Browsers give letters with shift as capitals; the page makes them small.
  if (name.size() == 1) {
    const auto character = static_cast<unsigned char>(name[0]);
    return std::isgraph(character) != 0 && std::isupper(character) == 0;
  }
  const std::vector<std::string> others = {"up",    "down",  "left",  "right",
                                           "space", "enter", "shift", kNone};
  return std::find(others.begin(), others.end(), name) != others.end();
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

PlayControls::PlayControls(std::vector<std::string> keys, double mouse_step)
    : keys_(std::move(keys)), mouse_step_(mouse_step) {
  bool has_none = false;
  for (const std::string& key : keys_) {
    if (!is_key_name(key)) {
      fail<ConfigError>(
          "--keys: must be small letters, digits, signs, up, down, left, right, space, enter, "
          "shift or none, but one is '{}'",
          key);
    }
    if (key != kNone) {
      add_name(key);
    } else if (std::exchange(has_none, true)) {
      fail<ConfigError>("--keys: must name none at most once, but does twice");
    }
  }
  if (!has_mouse()) return;
  for (const Arrow& arrow : kArrows) add_name(arrow.name);
}

void PlayControls::add_name(const std::string& name) {
  if (contains(names_, name)) {
    fail<ConfigError>("--keys: must be different{}, but '{}' comes twice",
                      has_mouse() ? ", also from the arrows, which move the mouse" : "", name);
  }
  names_.push_back(name);
}

std::vector<std::string> PlayControls::default_keys(int64_t num_keys) {
  std::vector<std::string> keys = {"w", "s", "a", "d", "q", "e"};
  const auto size = static_cast<size_t>(num_keys);
  if (size > keys.size()) {
    fail<ConfigError>("--keys: must name the model's {} keys, but was not given; {} can be guessed",
                      num_keys, keys.size());
  }
  keys.resize(size);
  return keys;
}

PlayActions PlayControls::actions(const std::vector<std::string>& pressed) const {
  for (const std::string& name : pressed) {
    if (!contains(names_, name))
      fail<DataError>("keys: must be among [{}], but one is '{}'", fmt::join(names_, ", "), name);
  }
  PlayActions actions;
  bool any = false;
  for (const std::string& key : keys_) {
    const bool down = contains(pressed, key);
    any = any || down;
    actions.keyboard.push_back(down ? 1.0F : 0.0F);
  }
  const auto none = std::find(keys_.begin(), keys_.end(), kNone);
  if (none != keys_.end() && !any)
    actions.keyboard[static_cast<size_t>(none - keys_.begin())] = 1.0F;
  if (!has_mouse()) return actions;
  const auto step = static_cast<float>(mouse_step_);
  for (const Arrow& arrow : kArrows) {
    if (!contains(pressed, arrow.name)) continue;
    actions.mouse[0] += step * arrow.up;
    actions.mouse[1] += step * arrow.right;
  }
  return actions;
}

}  // namespace zoetrope
