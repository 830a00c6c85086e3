// SPDX-License-Identifier: Apache-2.0
// Index operands of gathers and scatters. A bad index throws before anything is written: all are
// checked first, in one pass.
#pragma once

#include <cstdint>
#include <string>

#include "backend/kernel.h"

namespace ostria::cpu {

struct Indices {
  const OpDef* op = nullptr;
  DType dtype = DType::kInt64;
  int64_t count = 0;
  int64_t size = 0;          // of the axis they count along
  bool from_the_end = true;  // whether negative ones count from there

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
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = At(indices, i);
      if (at >= low && at < size) continue;
      throw Error(ErrorCode::kIndexError, std::string(op->name),
                  StrCat("index ", at, " (number ", i, " of ", count,
                         ") is out of range for an axis of size ", size, "; valid indices are ",
                         low, "..", size - 1));
    }
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
