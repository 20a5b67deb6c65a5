// Arrays out of NumPy's files: .npy, .npz (also compressed), and .npy with a pickled dictionary of
// arrays, as FastVideo stores actions. Pickles are read as data, nothing is executed. Source:
// NumPy's format description (numpy.lib.format) and ndarray.__reduce__.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

namespace zoetrope {

/// The arrays by name, in their own types on the CPU; the one of a plain .npy file has an empty
/// name. Throws DataError naming the file when it is damaged or holds anything but little-endian
/// numbers and booleans.
std::map<std::string, at::Tensor> read_numpy_arrays(const std::filesystem::path& path);

}  // namespace zoetrope
