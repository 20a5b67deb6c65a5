// Errors of every layer. Messages follow one grammar: `where: what must hold, but got what; hint`.
// Context is added on the way up with std::throw_with_nested; only main catches and prints the
// chain.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace zoetrope {

/// Base of everything Zoetrope throws on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A fault in a config file, an override or a command line.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// A fault in a data file; the message names the file and the sample.
class DataError : public Error {
 public:
  using Error::Error;
};

/// A fault in a weights file, a pipeline folder or a checkpoint.
class CheckpointError : public Error {
 public:
  using Error::Error;
};

/// A fault between ranks.
class DistributedError : public Error {
 public:
  using Error::Error;
};

/// A run that must not go on: non-finite losses or gradients.
class TrainingError : public Error {
 public:
  using Error::Error;
};

/// Throws `ErrorType` with a formatted message.
template <class ErrorType = Error, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw ErrorType(fmt::format(format, std::forward<Args>(args)...));
}

/// The message of `error` and of every error nested in it, outermost first, one a line.
std::string describe_error_chain(const std::exception& error);

}  // namespace zoetrope
