// Still pictures: PNG files out, PNG and JPEG files in, and contact sheets that show videos on one
// page.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "zoetrope/media/frame.h"

namespace zoetrope::media {

/// The bytes of a PNG file (8-bit RGB).
std::string encode_png(const Frame& frame);

/// encode_png into a file, which appears at once or not at all.
void write_png(const std::filesystem::path& path, const Frame& frame);

/// Reads a PNG or JPEG file; transparency is dropped. Throws Error naming the file when it cannot
/// be read, and DataError when its content is no whole picture.
Frame read_image(const std::filesystem::path& path);

/// One row per video with `columns` evenly spaced frames each, first and last included (fewer
/// columns when every video is shorter), with a few pixels of white between and around them. Videos
/// may differ in size. Throws Error when there is no video or one has no frames.
Frame contact_sheet(const std::vector<std::vector<Frame>>& videos, int columns);

}  // namespace zoetrope::media
