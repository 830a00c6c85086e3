// SPDX-License-Identifier: Apache-2.0
// OpDef: everything about one op, in one file of ops/. A plain constinit struct of function
// pointers; Python functions, stubs, reference and tests derive from it. Nothing else may switch on
// an op's name.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "ir/attr.h"

namespace ostria {

struct OpDef;
class GradContext;
class Builder;
struct Value;

/// dtype and (possibly symbolic) shape of one value.
struct ValueType {
  DType dtype = DType::kFloat32;
  Shape shape;
  friend bool operator==(const ValueType&, const ValueType&) = default;
};
std::string ToString(const ValueType& type);  // `float32[batch, 784]`
inline void AppendPart(std::string& out, const ValueType& t) { out.append(ToString(t)); }

enum class Arity : uint8_t {
  kOne,
  kOptional,  // may be left out, last inputs only
  kVariadic,  // n values; several variadic inputs of one op all have the same n, laid out group by
              // group
};

struct InputDef {
  std::string_view name;
  Arity arity = Arity::kOne;
  /// Whether the Python layer casts it to the common dtype of the promoting inputs; indices,
  /// labels, conditions and keys do not take part.
  bool promote = true;
};

struct OutputDef {
  std::string_view name;
  Arity arity = Arity::kOne;  // kVariadic: as many as infer says (optimizers, call)
};

struct AttrDef {
  std::string_view name;
  AttrType type = AttrType::kInt;
  /// Default in the graph text's spelling; empty: the attribute must be given.
  std::string_view default_text = {};
};

/// What an infer rule sees and fills in. Every mistake a user can make with an op is found here, so
/// the message is the same on every backend.
class InferContext {
 public:
  InferContext(const OpDef& op, std::span<const ValueType> inputs, std::span<const Attr> attrs,
               std::vector<ValueType>* outputs)
      : op_(op), inputs_(inputs), attrs_(attrs), outputs_(outputs) {}

  const OpDef& op() const { return op_; }
  int size() const { return static_cast<int>(inputs_.size()); }
  const ValueType& input(int i) const { return inputs_[i]; }
  DType dtype(int i) const { return inputs_[i].dtype; }
  const Shape& shape(int i) const { return inputs_[i].shape; }
  std::span<const Attr> attrs() const { return attrs_; }
  template <class T>
  const T& attr(int i) const {
    return std::get<T>(attrs_[i]);
  }
  void Out(DType dtype, const Shape& shape) { outputs_->push_back({dtype, shape}); }
  void Out(const ValueType& type) { outputs_->push_back(type); }

  /// Throws Error(kInvalidArgument) with the op's name in front.
  template <class... Args>
  [[noreturn]] void Fail(const Args&... args) const {
    Throw(ErrorCode::kInvalidArgument, StrCat(args...));
  }
  template <class... Args>
  [[noreturn]] void FailType(const Args&... args) const {
    Throw(ErrorCode::kTypeError, StrCat(args...));
  }
  [[noreturn]] void Throw(ErrorCode code, std::string message) const;

 private:
  const OpDef& op_;
  std::span<const ValueType> inputs_;
  std::span<const Attr> attrs_;
  std::vector<ValueType>* outputs_;
};

using InferFn = void (*)(InferContext&);
using GradFn = void (*)(GradContext&);
/// Rebuilds the op from simpler ones; returns as many values as the op has outputs.
using DecomposeFn = std::vector<Value> (*)(Builder& b, std::span<const Value> inputs,
                                           std::span<const Attr> attrs);
/// Operations of one execution, for summaries and reports. One convention for all ops:
///   a multiply-add counts two; an addition, product, comparison or function value (exp, gelu) one,
///   whatever the dtype;
///   a reduction or a pool counts one per element that goes into each result;
///   a drawn number counts one;
///   moving, converting or filling data counts nothing.
using FlopsFn = double (*)(std::span<const ValueType> inputs, std::span<const ValueType> outputs,
                           std::span<const Attr> attrs);
/// For ops that only move, convert or fill.
inline double NoFlops(std::span<const ValueType>, std::span<const ValueType>,
                      std::span<const Attr>) {
  return 0;
}

/// A gradient rule, or the reason why there is none.
struct GradRule {
  GradFn fn = nullptr;
  std::string_view none_because = {};
  bool zero = false;  // nothing flows back, and differentiation does not look further
  constexpr GradRule() = default;
  constexpr GradRule(GradFn rule) : fn(rule) {}  // NOLINT: op files assign the function
  static constexpr GradRule None(std::string_view why) {
    GradRule r;
    r.none_because = why;
    return r;
  }
  /// Zero wherever a derivative exists: floor, sign, stop_gradient.
  static constexpr GradRule Zero() {
    GradRule r([](GradContext&) {});
    r.zero = true;
    return r;
  }
};
constexpr GradRule NoGrad(std::string_view why) { return GradRule::None(why); }

/// What the result is when an input has no elements but the output has some (decision A9).
/// Libraries never see an empty operand: the planner replaces the node by this.
enum class OnEmpty : uint8_t {
  kRun,    // the implementation copes (concat, pad, gather with an empty part)
  kError,  // no sensible value: argmax of nothing
  kZero,
  kOne,
  kMinusInfinity,
  kInfinity,
};

/// The functor of kernels/scalar that an elementwise op is; none for other ops. Opaque here.
struct ScalarRef {
  int16_t id = -1;
  constexpr ScalarRef() = default;
  template <class E>
  requires std::is_enum_v<E>
  constexpr ScalarRef(E e) : id(static_cast<int16_t>(e)) {}  // NOLINT
  constexpr explicit operator bool() const { return id >= 0; }
};

enum class Amp : uint8_t { kFollow, kLow, kFp32 };  // mixed precision: what the pass may do

struct Traits {
  bool pure = true;      // no effect but its outputs: may be merged, folded, dropped
  bool ordered = false;  // keeps program order among ordered nodes, survives dead code elimination
  bool elementwise = false;  // one output, NumPy broadcasting of all inputs
  bool commutative = false;
  bool loop = false;         // its decomposition is one loop nest: functors and folds
  bool view = false;         // same bytes in the same order: the planner may alias (reshape)
  bool smooth = true;        // tests check second derivatives
  bool checks_data = false;  // may refuse its operands' values while it runs: an index out of range
  bool internal = false;     // made by autodiff or passes: no Python function of its own
  /// Variadic inputs of which group `gradient` is laid out like the state in group `state` (B2).
  int8_t mirror_state = -1, mirror_gradient = -1;
  Amp amp = Amp::kFollow;
};

struct OpDef {
  std::string_view name;
  int version = 1;
  /// One sentence, then details; NumPy docstring style is added by the generator.
  std::string_view doc;
  std::span<const InputDef> inputs;
  std::span<const AttrDef> attrs;
  std::span<const OutputDef> outputs;
  Traits traits;
  InferFn infer = nullptr;  // mandatory
  GradRule grad;            // mandatory: a rule or NoGrad("reason")
  DecomposeFn decompose = nullptr;
  ScalarRef scalar;
  OnEmpty on_empty = OnEmpty::kRun;
  /// nullptr: one per output element for elementwise ops, else what the decomposition takes.
  FlopsFn flops = nullptr;
};

inline constexpr OutputDef kOneOutput[] = {{"y"}};

/// How the `n` given inputs of `op` split: n per variadic group, or throws Error when impossible.
int VariadicCount(const OpDef& op, int n);

/// The op's declared default of attribute `i`; throws Error(kTypeError) naming it when it has none.
Attr DefaultAttr(const OpDef& op, int i);

namespace ops {
/// Every registered op, sorted by name; defined by the generated manifest.
std::span<const OpDef* const> AllOps();
}  // namespace ops
/// nullptr when there is none. For the printer's reader and the bindings only.
const OpDef* FindOp(std::string_view name);

}  // namespace ostria
