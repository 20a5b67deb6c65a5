// What is to be preprocessed: videos with captions, or captions alone, from a folder or a list
// file. Opens no video. Source: FastVideo's merged data sets (docs/training/data_preprocess.md
// there).
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "zoetrope/data/actions/frame_actions.h"
#include "zoetrope/media/frame.h"

namespace zoetrope {

/// One video (or, in a list of texts, one caption).
struct SourceEntry {
  std::string id;                     ///< unique in the list
  std::string name;                   ///< as the list or folder names it
  std::filesystem::path video;        ///< empty in a list of texts
  std::vector<std::string> captions;  ///< one or several wordings; empty: none was found
  double start_sec = 0.0;             ///< where in the video to begin
  /// Where given, makes the frames of the one clip at its size, and `video` is not read.
  std::function<std::vector<media::Frame>()> render = {};
  /// Controls of every frame of the video (of what `render` makes, where given). Else they are in
  /// `actions_file`, or when that is empty in the one file beside the video.
  std::optional<FrameActions> actions = std::nullopt;
  std::filesystem::path actions_file = {};
};

/// Videos in `input`: a folder (every video below it, each with a text file of its name), a folder
/// with FastVideo's `videos2caption.json`, such a JSON file itself, a CSV with a header or JSON
/// lines (columns `path`, `video` or `file_name`; `caption`, `cap`, `text` or `prompt`; optionally
/// `start` in seconds and `actions` or `action_path`, a file). Relative paths count from the list's
/// folder and from `videos/` in it. An entry without caption or file stays in the list: it is for
/// the caller to reject. Throws DataError with file:line for a list that cannot be understood, and
/// when it is empty.
std::vector<SourceEntry> list_videos(const std::filesystem::path& input);

/// The actions of `entry`: its own, or those of its file. Throws DataError as find_action_file and
/// read_action_file.
FrameActions actions_of(const SourceEntry& entry);

/// Captions in `input`: a text file with one in each line, or any list that list_videos takes,
/// where videos are not needed.
std::vector<SourceEntry> list_texts(const std::filesystem::path& input);

}  // namespace zoetrope
