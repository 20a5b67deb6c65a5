// The message of the error that a call throws, for comparing it in a test.
#pragma once

#include <string>

#include "zoetrope/base/error.h"

namespace zoetrope::test {

/// What function() throws as an Error; `no error` when it throws none.
template <class Function>
std::string error_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace zoetrope::test
