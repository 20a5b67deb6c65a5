#include "zoetrope/data/actions/numpy_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <ATen/ATen.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/file.h"
#include "zoetrope/checkpoint/pickle/reader.h"
#include "zoetrope/checkpoint/torch_archive/zip_reader.h"

namespace zoetrope {
namespace fs = std::filesystem;
namespace {

using Arrays = std::map<std::string, at::Tensor>;

constexpr std::string_view kMagic = "\x93NUMPY";

// `f4`, with or without the byte order in front.
at::ScalarType type_of(std::string_view code) {
  if (code.starts_with('<') || code.starts_with('|') || code.starts_with('='))
    code.remove_prefix(1);
  if (code == "f2") return at::kHalf;
  if (code == "f4") return at::kFloat;
  if (code == "f8") return at::kDouble;
  if (code == "i8") return at::kLong;
  if (code == "i4") return at::kInt;
  if (code == "i2") return at::kShort;
  if (code == "i1") return at::kChar;
  if (code == "u1") return at::kByte;
  if (code == "b1") return at::kBool;
  fail<DataError>("the numbers must be little-endian floats, ints or booleans, but are '{}'", code);
}

struct ArrayLayout {
  at::ScalarType dtype = at::kFloat;
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

at::Tensor make_array(const ArrayLayout& layout, std::string_view bytes) {
  std::vector<int64_t> stored_shape = layout.shape;
  if (layout.fortran_order) std::ranges::reverse(stored_shape);
  int64_t count = 1;
  for (const int64_t size : stored_shape) {
    if (size < 0 || __builtin_mul_overflow(count, size, &count))
      fail<DataError>("an array has an impossible shape");
  }
  const auto element_bytes = static_cast<int64_t>(c10::elementSize(layout.dtype));
  const auto num_bytes = static_cast<int64_t>(bytes.size());
  if (num_bytes % element_bytes != 0 || num_bytes / element_bytes != count) {
    fail<DataError>("an array must have {} elements of {} bytes, but has {} bytes", count,
                    element_bytes, num_bytes);
  }
  at::Tensor array = at::empty(stored_shape, at::TensorOptions(layout.dtype));
  std::memcpy(array.mutable_data_ptr(), bytes.data(), bytes.size());
  if (!layout.fortran_order) return array;
  std::vector<int64_t> axes(stored_shape.size());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(axes.size() - 1 - i);
  return array.permute(axes).contiguous();
}

// What follows `'key':` in the header, a Python dictionary of three literals.
std::string_view header_value(std::string_view header, const std::string& key) {
  const size_t found = header.find("'" + key + "':");
  if (found == std::string_view::npos) fail<DataError>("the header must say '{}'", key);
  const std::string_view value = header.substr(found + key.size() + 3);
  return value.substr(std::min(value.find_first_not_of(' '), value.size()));
}

std::vector<int64_t> read_shape(std::string_view tuple) {
  const size_t end = tuple.find(')');
  if (!tuple.starts_with('(') || end == std::string_view::npos)
    fail<DataError>("the header must have a shape in parentheses");
  std::vector<int64_t> shape;
  const char* const last = tuple.data() + end;
  for (const char* digit = tuple.data() + 1; digit < last; ++digit) {
    if (*digit == ' ' || *digit == ',') continue;
    const auto [rest, error] = std::from_chars(digit, last, shape.emplace_back());
    if (error != std::errc()) fail<DataError>("the header must have a shape of whole numbers");
    digit = rest;
  }
  return shape;
}

const PickleGlobals& array_globals() {
  static const PickleGlobals names = {"numpy.dtype", "numpy.ndarray",
                                      "numpy._core.multiarray._reconstruct",
                                      "numpy.core.multiarray._reconstruct"};
  return names;
}

// The state of a pickled array: (version, shape, dtype, is_fortran, contents).
const std::vector<PickleValue>& array_state(const PickleValue& array) {
  const PickleObject& object = array.as_object();
  const std::vector<PickleValue>& state = object.state.as_elements();
  constexpr size_t kMembers = 5;
  if (!object.type.ends_with("multiarray._reconstruct") || state.size() != kMembers)
    fail<DataError>("the pickle must hold arrays, but holds an object of {}", object.type);
  return state;
}

at::Tensor array_of(const PickleValue& array) {
  const std::vector<PickleValue>& state = array_state(array);
  const PickleObject& dtype = state[2].as_object_of("numpy.dtype");
  const std::vector<PickleValue>& order = dtype.state.as_elements();
  if (order.size() > 1 && order[1].as_string() == ">")
    fail<DataError>("the numbers must be little-endian, but are big-endian");
  if (dtype.arguments().empty()) fail<DataError>("an array must have a type, but has none");
  ArrayLayout layout;
  layout.dtype = type_of(dtype.arguments().at(0).as_string());
  layout.fortran_order = state[3].as_boolean();
  for (const PickleValue& size : state[1].as_elements()) layout.shape.push_back(size.as_integer());
  return make_array(layout, state[4].as_bytes());
}

Arrays read_pickled_dictionary(std::string_view bytes) {
  const PickleValue outer = read_pickle(bytes, "the array of objects", array_globals());
  const std::vector<PickleValue>& objects = array_state(outer)[4].as_elements();
  if (objects.size() != 1)
    fail<DataError>("it must hold one dictionary, but holds {} objects", objects.size());
  Arrays arrays;
  for (const auto& [name, array] : objects.front().as_entries())
    arrays.emplace(name.as_string(), array_of(array));
  return arrays;
}

Arrays read_npy(std::string_view bytes) {
  constexpr size_t kShortPrefix = 10;
  constexpr size_t kLongPrefix = 12;
  if (bytes.size() < kLongPrefix || !bytes.starts_with(kMagic))
    fail<DataError>("it must begin as a .npy file, but does not");
  const bool is_long = bytes[kMagic.size()] > 1;
  const size_t prefix = is_long ? kLongPrefix : kShortPrefix;
  uint32_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data() + kMagic.size() + 2, is_long ? 4 : 2);
  if (header_bytes > bytes.size() - prefix) fail<DataError>("the file ends in its header");
  const std::string_view header = bytes.substr(prefix, header_bytes);
  const std::string_view content = bytes.substr(prefix + header_bytes);
  const std::string_view descr = header_value(header, "descr");
  const size_t end = descr.find('\'', 1);
  if (!descr.starts_with('\'') || end == std::string_view::npos)
    fail<DataError>("the numbers must be of one type, but are records");
  const std::string_view code = descr.substr(1, end - 1);
  if (code == "|O") return read_pickled_dictionary(content);
  return {{"", make_array({type_of(code), header_value(header, "fortran_order").starts_with("True"),
                           read_shape(header_value(header, "shape"))},
                          content)}};
}

Arrays read_npz(std::string_view bytes) {
  constexpr std::string_view kSuffix = ".npy";
  Arrays arrays;
  for (const ZipRecord& record : list_zip_records(bytes)) {
    std::string name(record.name);
    if (!name.ends_with(kSuffix)) continue;
    name.resize(name.size() - kSuffix.size());
    const Arrays content = read_npy(unpack_zip_record(record));
    if (content.size() != 1 || !content.contains(""))
      fail<DataError>("'{}' must be an array of numbers, but holds objects", name);
    arrays.emplace(std::move(name), content.at(""));
  }
  return arrays;
}

}  // namespace

std::map<std::string, at::Tensor> read_numpy_arrays(const fs::path& path) {
  const std::string bytes = read_file(path);
  try {
    return bytes.starts_with("PK") ? read_npz(bytes) : read_npy(bytes);
  } catch (const Error& error) {
    fail<DataError>("{}: must be a NumPy file: {}", path.string(), error.what());
  }
}

}  // namespace zoetrope
