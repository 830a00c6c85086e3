// SPDX-License-Identifier: Apache-2.0
// The one exception type. Every failure a user can cause, and every broken invariant of ours, is an
// ostria::Error: nothing in the project aborts. The bindings map codes to Python exceptions.
// Invariant: `what()` is the full message as the user reads it, location included.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "base/str_cat.h"

#define OSTRIA_API __attribute__((visibility("default")))

namespace ostria {

/// What kind of mistake it is; decides the Python exception class.
enum class ErrorCode {
  kInvalidArgument,    // ValueError
  kTypeError,          // TypeError
  kIndexError,         // IndexError
  kNotImplemented,     // NotImplementedError
  kOutOfMemory,        // ost.OutOfMemoryError (a MemoryError)
  kDeviceUnavailable,  // ost.DeviceUnavailableError (a RuntimeError)
  kDistributed,        // ost.DistributedError (a RuntimeError)
  kDataCorruption,     // ost.DataCorruptionError (a ValueError)
  kIo,                 // OSError
  kNonFinite,          // ost.NonFiniteError (a FloatingPointError)
  kInternal,           // RuntimeError: a bug of ours
};

/// A failure with what a user needs to mend it. Messages read
/// `op: what is wrong, what was given; what is accepted; what to try [file.py:42]`.
class OSTRIA_API Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {
    Format();
  }
  Error(ErrorCode code, std::string op, std::string message)
      : code_(code), op_(std::move(op)), message_(std::move(message)) {
    Format();
  }

  ErrorCode code() const { return code_; }
  const std::string& op() const { return op_; }
  const std::string& message() const { return message_; }
  const std::string& location() const { return location_; }
  /// Which part of the node it is about, where it was made from several that have lines of their
  /// own (see PartOf); -1 if it was not.
  int part() const { return part_; }
  const char* what() const noexcept override { return what_.c_str(); }

  /// Adds the user's own line ("train.py:42") unless one is there already.
  Error& At(const std::string& location) {
    if (location_.empty()) {
      location_ = location;
      Format();
    }
    return *this;
  }

  Error& OfPart(int part) {
    part_ = part;
    return *this;
  }

 private:
  void Format() {
    what_ = op_.empty() ? message_ : op_ + ": " + message_;
    if (!location_.empty()) what_ += " [" + location_ + "]";
  }

  ErrorCode code_;
  int part_ = -1;
  std::string op_, message_, location_, what_;
};

template <class... Args>
[[noreturn]] void Fail(ErrorCode code, const Args&... args) {
  throw Error(code, StrCat(args...));
}

}  // namespace ostria
