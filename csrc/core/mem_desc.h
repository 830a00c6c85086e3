// SPDX-License-Identifier: Apache-2.0
// What an implementation is told about one operand: dtype, sizes and strides, all integers, no
// address. Strides exist only here, private to a plan (decision A7): tensors that users hold are
// always dense.
#pragma once

#include <array>
#include <cstdint>

#include "core/dtype.h"
#include "core/shape.h"

namespace ostria {

struct MemDesc {
  DType dtype = DType::kFloat32;
  int8_t rank = 0;
  std::array<int64_t, kMaxRank> sizes{};
  std::array<int64_t, kMaxRank> strides{};  // in elements

  /// Dense, row-major.
  static MemDesc Dense(DType dtype, const Shape& shape) {
    MemDesc d;
    d.dtype = dtype;
    d.rank = static_cast<int8_t>(shape.rank());
    int64_t stride = 1;
    for (int i = d.rank - 1; i >= 0; --i) {
      d.sizes[i] = shape[i].value();
      d.strides[i] = stride;
      stride *= d.sizes[i];
    }
    return d;
  }

  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= sizes[i];
    return n;
  }
  int64_t bytes() const { return numel() * SizeOf(dtype); }
  Shape shape() const { return Shape::FromSizes({sizes.data(), static_cast<size_t>(rank)}); }
  bool is_dense() const {
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (sizes[i] != 1 && strides[i] != stride) return false;
      stride *= sizes[i];
    }
    return true;
  }
  friend bool operator==(const MemDesc&, const MemDesc&) = default;
};

}  // namespace ostria
