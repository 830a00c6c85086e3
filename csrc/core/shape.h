// SPDX-License-Identifier: Apache-2.0
// A shape: up to eight dimensions held inline (no allocation), static or symbolic.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/error.h"
#include "core/dim.h"

namespace ostria {

inline constexpr int kMaxRank = 8;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<Dim> dims) : Shape(std::span<const Dim>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const Dim> dims) {
    for (Dim d : dims) Append(d);
  }
  static Shape FromSizes(std::span<const int64_t> sizes) {
    Shape s;
    for (int64_t n : sizes) s.Append(n);
    return s;
  }

  int rank() const { return rank_; }
  Dim operator[](int axis) const { return dims_[axis]; }
  Dim& operator[](int axis) { return dims_[axis]; }
  const Dim* begin() const { return dims_.data(); }
  const Dim* end() const { return dims_.data() + rank_; }
  std::span<const Dim> dims() const { return {begin(), end()}; }

  void Append(Dim d) {
    if (rank_ == kMaxRank) {
      Fail(ErrorCode::kInvalidArgument, "a tensor of rank 9 or more was asked for; at most rank ",
           kMaxRank, " is supported; merge axes with reshape");
    }
    dims_[rank_++] = d;
  }
  void Insert(int axis, Dim d) {
    Append(d);
    for (int i = rank_ - 1; i > axis; --i) dims_[i] = dims_[i - 1];
    dims_[axis] = d;
  }
  void Remove(int axis) {
    for (int i = axis; i + 1 < rank_; ++i) dims_[i] = dims_[i + 1];
    --rank_;
  }

  bool is_static() const {
    for (Dim d : *this)
      if (!d.is_static()) return false;
    return true;
  }
  /// Product of the dimensions (1 for rank 0); throws when symbolic, and beyond 2^56, so that sizes
  /// in bytes never overflow.
  int64_t numel() const {
    int64_t n = 1;
    for (Dim d : *this) {
      if (__builtin_mul_overflow(n, d.value(), &n) || n > int64_t{1} << 56) [[unlikely]] {
        FailTooLarge();
      }
    }
    return n;
  }
  /// Product of the dimensions as an expression.
  Dim numel_dim() const {
    Dim n = 1;
    for (Dim d : *this) n = n * d;
    return n;
  }

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (!(a.dims_[i] == b.dims_[i])) return false;
    return true;
  }

 private:
  [[noreturn]] void FailTooLarge() const;

  int8_t rank_ = 0;
  std::array<Dim, kMaxRank> dims_{};
};

/// `[8, 10]`, `[batch, 784]`, `[]`.
std::string ToString(const Shape& shape);
inline void AppendPart(std::string& out, const Shape& shape) { out.append(ToString(shape)); }

/// All symbols replaced.
Shape Substitute(const Shape& shape, const Binding& binding);

}  // namespace ostria
