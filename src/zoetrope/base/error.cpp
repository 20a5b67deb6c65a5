#include "zoetrope/base/error.h"

namespace zoetrope {

std::string describe_error_chain(const std::exception& error) {
  std::string text = error.what();
  try {
    std::rethrow_if_nested(error);
  } catch (const std::exception& nested) {
    text += "\n  " + describe_error_chain(nested);
  }
  return text;
}

}  // namespace zoetrope
