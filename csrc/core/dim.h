// SPDX-License-Identifier: Apache-2.0
// One dimension: an integer, or an interned integer expression over symbols such as `batch`
// (polynomials; floordiv, mod and max are opaque atoms). Only graphs before Specialise hold
// symbols. Invariant: equal codes mean equal expressions; a symbol stands for any integer >= 0,
// never broadcasts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ostria {

enum class Tri : uint8_t { kNo, kYes, kUnknown };

class Dim {
 public:
  constexpr Dim() = default;
  /// Throws Error when negative: codes below 0 are expressions.
  constexpr Dim(int64_t value) : code_(value) {  // NOLINT: sizes convert freely
    if (value < 0) FailNegative(value);
  }

  /// The symbol with this name (letters, digits, `_`); equal names are the same symbol.
  static Dim Symbol(std::string_view name);

  constexpr bool is_static() const { return code_ >= 0; }
  /// The integer; throws Error when symbolic.
  int64_t value() const;
  /// A key for hashing and interning: not stable between processes when symbolic.
  constexpr int64_t code() const { return code_; }

  friend constexpr bool operator==(Dim a, Dim b) { return a.code_ == b.code_; }

 private:
  friend class DimTable;
  [[noreturn]] static void FailNegative(int64_t value);
  int64_t code_ = 0;
};

// Sizes are never negative: subtraction that gives a negative integer throws Error.
Dim operator+(Dim a, Dim b);
Dim operator-(Dim a, Dim b);
Dim operator*(Dim a, Dim b);
/// Floor division; throws when b is 0. An exact polynomial quotient stays a polynomial.
Dim FloorDiv(Dim a, Dim b);
Dim Mod(Dim a, Dim b);
Dim Max(Dim a, Dim b);

/// Whether a and b are the same for every (or no) binding of their symbols.
Tri Equal(Dim a, Dim b);

/// `7`, `batch`, `2*batch + 3`, `floordiv(batch, 2)`; independent of interning order.
std::string ToString(Dim d);
inline void AppendPart(std::string& out, Dim d) { out.append(ToString(d)); }
/// Reads ToString's form; throws Error(kInvalidArgument) on anything else.
Dim ParseDim(std::string_view text);

/// Symbol name -> size.
using Binding = std::vector<std::pair<std::string, int64_t>>;
/// Replaces every symbol; throws Error when one is unbound or the size comes out negative.
int64_t Substitute(Dim d, const Binding& binding);

}  // namespace ostria
