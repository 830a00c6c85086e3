// SPDX-License-Identifier: Apache-2.0
// Index operands of gathers and scatters. A bad index throws before anything is written: all are
// checked first, in one pass.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "backend/kernel.h"

namespace ostria::cpu {

struct Indices {
  const OpDef* op = nullptr;
  DType dtype = DType::kInt64;
  int64_t count = 0;
  int64_t size = 0;          // of the axis they count along
  bool from_the_end = true;  // whether negative ones count from there
  int part = -1;             // of the node, where errors are about one (Error::part)

  static Indices Of(const NodeDesc& d, int input, int64_t size) {
    return {d.op, d.inputs[input].dtype, d.inputs[input].numel(), size};
  }
  int64_t At(const void* indices, int64_t i) const {
    return dtype == DType::kInt32 ? static_cast<const int32_t*>(indices)[i]
                                  : static_cast<const int64_t*>(indices)[i];
  }
  /// As 0..size-1, once Check has passed.
  int64_t Place(const void* indices, int64_t i) const {
    const int64_t at = At(indices, i);
    return at < 0 ? at + size : at;
  }
  void Check(const void* indices) const {
    const int64_t low = from_the_end ? -size : 0;
    const bool fine =
        dtype == DType::kInt32 ? AllIn<uint32_t>(indices, low) : AllIn<uint64_t>(indices, low);
    for (int64_t i = 0; !fine && i < count; ++i) {
      const int64_t at = At(indices, i);
      if (at >= low && at < size) continue;
      throw Error(ErrorCode::kIndexError, std::string(op->name),
                  StrCat("index ", at, " (number ", i, " of ", count,
                         ") is out of range for an axis of size ", size, "; valid indices are ",
                         low, "..", size - 1))
          .OfPart(part);
    }
  }

 private:
  // Counted from `low`, what lies before it is beyond all sizes. No branch for each index.
  template <class U>
  bool AllIn(const void* indices, int64_t low) const {
    if (static_cast<uint64_t>(size - low) > std::numeric_limits<U>::max())
      return false;  // ask each
    const auto from = static_cast<U>(low), limit = static_cast<U>(size - low);
    const auto* at = static_cast<const std::make_signed_t<U>*>(indices);
    bool fine = true;
    for (int64_t i = 0; i < count; ++i)
      fine &= static_cast<U>(static_cast<U>(at[i]) - from) < limit;
    return fine;
  }
};

/// Calls fn(pointer) with the indices as what they are.
template <class Fn>
void WithIndices(DType dtype, const void* indices, Fn fn) {
  if (dtype == DType::kInt32) {
    fn(static_cast<const int32_t*>(indices));
  } else {
    fn(static_cast<const int64_t*>(indices));
  }
}

}  // namespace ostria::cpu
