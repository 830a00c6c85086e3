// SPDX-License-Identifier: Apache-2.0
// The intern table of symbolic dimensions. A polynomial is a sorted list of terms; each term an
// integer coefficient and a sorted list of atoms (repeated for powers). Atoms and polynomials are
// compared and printed by name, so text never depends on the order of interning.
#include "core/dim.h"

#include <algorithm>
#include <cctype>
#include <deque>
#include <limits>
#include <map>
#include <mutex>

#include "base/check.h"

namespace ostria {
namespace {

using Monomial = std::vector<std::string>;       // atoms by their text, sorted
using Polynomial = std::map<Monomial, int64_t>;  // no zero coefficients

struct Atom {  // a symbol, or floordiv / mod / max of two dimensions
  std::string op;
  Dim a, b;
};

int64_t CheckedMul(int64_t a, int64_t b) {
  int64_t out;
  if (__builtin_mul_overflow(a, b, &out)) {
    Fail(ErrorCode::kInvalidArgument, "a dimension overflows 64 bits: ", a, " * ", b);
  }
  return out;
}

int64_t CheckedAdd(int64_t a, int64_t b) {
  int64_t out;
  if (__builtin_add_overflow(a, b, &out)) {
    Fail(ErrorCode::kInvalidArgument, "a dimension overflows 64 bits: ", a, " + ", b);
  }
  return out;
}

void AddTerm(Polynomial& p, const Monomial& m, int64_t c) {
  const auto it = p.try_emplace(m, 0).first;
  it->second = CheckedAdd(it->second, c);
  if (it->second == 0) p.erase(it);
}

std::string Print(const Polynomial& p) {
  std::string out;
  // Highest powers first, the constant last: `2*batch + 3`.
  std::vector<std::pair<Monomial, int64_t>> terms(p.begin(), p.end());
  std::stable_sort(terms.begin(), terms.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  for (const auto& [m, c] : terms) {
    const int64_t magnitude = out.empty() ? c : std::abs(c);
    if (!out.empty()) out += c < 0 ? " - " : " + ";
    if (m.empty()) {
      AppendPart(out, magnitude);
      continue;
    }
    if (magnitude != 1) out += StrCat(magnitude, "*");
    out += Join(m, "*");
  }
  return out.empty() ? "0" : out;
}

}  // namespace

class DimTable {
 public:
  static DimTable& Get() {
    static DimTable* table = new DimTable;  // never destroyed: dims outlive static teardown
    return *table;
  }

  Polynomial Of(Dim d) {
    if (d.is_static()) {
      Polynomial p;
      AddTerm(p, {}, d.code());
      return p;
    }
    std::lock_guard lock(mutex_);
    return polynomials_[static_cast<size_t>(~d.code())];
  }

  Dim Intern(const Polynomial& p) {
    if (p.empty()) return Dim(0);
    if (p.size() == 1 && p.begin()->first.empty()) return Dim(p.begin()->second);
    std::lock_guard lock(mutex_);
    const auto [it, fresh] = ids_.try_emplace(p, polynomials_.size());
    if (fresh) polynomials_.push_back(p);
    Dim d;
    d.code_ = ~static_cast<int64_t>(it->second);
    return d;
  }

  Dim MakeAtom(const std::string& text, const Atom& atom) {
    {
      std::lock_guard lock(mutex_);
      atoms_.try_emplace(text, atom);
    }
    return Intern({{{text}, 1}});
  }

  Atom AtomOf(const std::string& text) {
    std::lock_guard lock(mutex_);
    return atoms_.at(text);
  }

 private:
  std::mutex mutex_;
  std::deque<Polynomial> polynomials_;
  std::map<Polynomial, size_t> ids_;
  std::map<std::string, Atom> atoms_;
};

namespace {

Dim Opaque(const char* op, Dim a, Dim b) {
  return DimTable::Get().MakeAtom(StrCat(op, "(", a, ", ", b, ")"), {op, a, b});
}

int64_t FloorDivInt(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

}  // namespace

void Dim::FailNegative(int64_t value) {
  Fail(ErrorCode::kInvalidArgument, "a dimension came out negative: ", value);
}

Dim Dim::Symbol(std::string_view name) {
  const bool good = !name.empty() && !std::isdigit(static_cast<unsigned char>(name[0])) &&
                    std::all_of(name.begin(), name.end(),
                                [](unsigned char c) { return std::isalnum(c) || c == '_'; });
  if (!good || name == "max" || name == "mod" || name == "floordiv") {
    Fail(ErrorCode::kInvalidArgument, "dim: '", name,
         "' cannot name a dimension; use letters, digits and '_', not starting with a digit");
  }
  return DimTable::Get().MakeAtom(std::string(name), {"", 0, 0});
}

int64_t Dim::value() const {
  if (!is_static()) {
    Fail(ErrorCode::kInvalidArgument, "the size of dimension `", ToString(*this),
         "` is not known while tracing; keep it symbolic, or compile without a symbolic batch");
  }
  return code_;
}

Dim operator+(Dim a, Dim b) {
  if (a.is_static() && b.is_static()) return Dim(CheckedAdd(a.code(), b.code()));
  Polynomial p = DimTable::Get().Of(a);
  for (const auto& [m, c] : DimTable::Get().Of(b)) AddTerm(p, m, c);
  return DimTable::Get().Intern(p);
}

Dim operator-(Dim a, Dim b) {
  Polynomial p = DimTable::Get().Of(a);
  for (const auto& [m, c] : DimTable::Get().Of(b)) AddTerm(p, m, -c);
  return DimTable::Get().Intern(p);
}

Dim operator*(Dim a, Dim b) {
  if (a.is_static() && b.is_static()) return Dim(CheckedMul(a.code(), b.code()));
  Polynomial p;
  const Polynomial pb = DimTable::Get().Of(b);
  for (const auto& [ma, ca] : DimTable::Get().Of(a)) {
    for (const auto& [mb, cb] : pb) {
      Monomial m = ma;
      m.insert(m.end(), mb.begin(), mb.end());
      std::sort(m.begin(), m.end());
      AddTerm(p, m, CheckedMul(ca, cb));
    }
  }
  return DimTable::Get().Intern(p);
}

Dim FloorDiv(Dim a, Dim b) {
  if (b == Dim(0)) Fail(ErrorCode::kInvalidArgument, "a dimension was divided by 0");
  if (a.is_static() && b.is_static()) return Dim(a.code() / b.code());
  if (b == Dim(1)) return a;
  if (a == b) return Dim(1);
  // Exact when one term of the divisor divides every term of a: floordiv(6*batch, 2) is 3*batch.
  const Polynomial pa = DimTable::Get().Of(a), pb = DimTable::Get().Of(b);
  if (pb.size() == 1) {
    const auto& [mb, cb] = *pb.begin();
    Polynomial quotient;
    bool exact = true;
    for (const auto& [m, c] : pa) {
      Monomial rest = m;
      for (const auto& atom : mb) {
        const auto it = std::find(rest.begin(), rest.end(), atom);
        if (it == rest.end())
          exact = false;
        else
          rest.erase(it);
      }
      if (c % cb != 0) exact = false;
      if (!exact) break;
      AddTerm(quotient, rest, c / cb);
    }
    if (exact) return DimTable::Get().Intern(quotient);
  }
  return Opaque("floordiv", a, b);
}

Dim Mod(Dim a, Dim b) {
  if (b == Dim(0)) Fail(ErrorCode::kInvalidArgument, "a dimension was divided by 0");
  if (a.is_static() && b.is_static()) return Dim(a.code() % b.code());
  if (b == Dim(1) || a == b) return Dim(0);
  return Opaque("mod", a, b);
}

Dim Max(Dim a, Dim b) {
  if (a.is_static() && b.is_static()) return Dim(std::max(a.code(), b.code()));
  if (a == b || b == Dim(0)) return a;
  if (a == Dim(0)) return b;
  return Opaque("max", a, b);
}

Tri Equal(Dim a, Dim b) {
  if (a == b) return Tri::kYes;
  if (a.is_static() && b.is_static()) return Tri::kNo;
  Polynomial p = DimTable::Get().Of(a);
  for (const auto& [m, c] : DimTable::Get().Of(b)) AddTerm(p, m, -c);
  if (p.size() == 1 && p.begin()->first.empty()) return Tri::kNo;  // they differ by a constant
  return Tri::kUnknown;
}

std::string ToString(Dim d) {
  if (d.is_static()) return StrCat(d.code());
  return Print(DimTable::Get().Of(d));
}

namespace {

// expression = ['-'] term {('+' | '-') term};  term = factor {'*' factor};
// factor = integer | name | op '(' expression ',' expression ')'
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Dim Parse() {
    const Polynomial p = Expression(0);
    Skip();
    if (at_ != text_.size()) Bad("unexpected text");
    return DimTable::Get().Intern(p);
  }

 private:
  [[noreturn]] void Bad(std::string_view why) {
    Fail(ErrorCode::kInvalidArgument, "dim: cannot read '", text_, "': ", why, " at column ",
         at_ + 1);
  }
  void Skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool Take(char c) {
    Skip();
    if (at_ < text_.size() && text_[at_] == c) return ++at_, true;
    return false;
  }
  Polynomial Expression(int depth) {
    if (depth > 32) Bad("nested too deeply");
    Polynomial p;
    int64_t sign = Take('-') ? -1 : 1;
    while (true) {
      for (const auto& [m, c] : Term(depth)) AddTerm(p, m, sign * c);
      if (Take('+'))
        sign = 1;
      else if (Take('-'))
        sign = -1;
      else
        return p;
    }
  }
  Polynomial Term(int depth) {
    Polynomial p = Factor(depth);
    while (Take('*')) {
      Polynomial product;
      const Polynomial f = Factor(depth);
      for (const auto& [ma, ca] : p) {
        for (const auto& [mb, cb] : f) {
          Monomial m = ma;
          m.insert(m.end(), mb.begin(), mb.end());
          std::sort(m.begin(), m.end());
          if (m.size() > 16) Bad("power too high");
          AddTerm(product, m, CheckedMul(ca, cb));
        }
      }
      p = std::move(product);
    }
    return p;
  }
  Polynomial Factor(int depth) {
    Skip();
    const size_t start = at_;
    if (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) {
      int64_t value = 0;
      while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) {
        const int digit = text_[at_++] - '0';
        if (value > (std::numeric_limits<int64_t>::max() - digit) / 10) Bad("number too large");
        value = value * 10 + digit;
      }
      Polynomial p;
      AddTerm(p, {}, value);
      return p;
    }
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_')) {
      ++at_;
    }
    const std::string_view name = text_.substr(start, at_ - start);
    if (name.empty()) Bad("a number or a name was expected");
    if (name != "floordiv" && name != "mod" && name != "max") {
      return DimTable::Get().Of(Dim::Symbol(name));
    }
    if (!Take('(')) Bad("'(' was expected");
    const Dim a = DimTable::Get().Intern(Expression(depth + 1));
    if (!Take(',')) Bad("',' was expected");
    const Dim b = DimTable::Get().Intern(Expression(depth + 1));
    if (!Take(')')) Bad("')' was expected");
    return DimTable::Get().Of(name == "max"   ? Max(a, b)
                              : name == "mod" ? Mod(a, b)
                                              : FloorDiv(a, b));
  }

  std::string_view text_;
  size_t at_ = 0;
};

int64_t Evaluate(Dim d, const Binding& binding) {
  if (d.is_static()) return d.code();
  int64_t sum = 0;
  for (const auto& [m, c] : DimTable::Get().Of(d)) {
    int64_t product = c;
    for (const std::string& text : m) {
      const Atom atom = DimTable::Get().AtomOf(text);
      int64_t value = 0;
      if (atom.op.empty()) {
        const auto it = std::find_if(binding.begin(), binding.end(),
                                     [&](const auto& entry) { return entry.first == text; });
        if (it == binding.end()) {
          Fail(ErrorCode::kInvalidArgument, "dimension `", text, "` has no size bound to it");
        }
        value = it->second;
      } else {
        const int64_t a = Evaluate(atom.a, binding), b = Evaluate(atom.b, binding);
        if (atom.op != "max" && b == 0) {
          Fail(ErrorCode::kInvalidArgument, "dimension `", text, "` divides by 0");
        }
        value = atom.op == "max"   ? std::max(a, b)
                : atom.op == "mod" ? a - FloorDivInt(a, b) * b
                                   : FloorDivInt(a, b);
      }
      product = CheckedMul(product, value);
    }
    sum = CheckedAdd(sum, product);
  }
  return sum;
}

}  // namespace

Dim ParseDim(std::string_view text) { return Parser(text).Parse(); }

int64_t Substitute(Dim d, const Binding& binding) {
  const int64_t value = Evaluate(d, binding);
  if (value < 0) {
    Fail(ErrorCode::kInvalidArgument, "dimension `", d, "` comes out negative (", value,
         ") for this batch size");
  }
  return value;
}

}  // namespace ostria
