// SPDX-License-Identifier: Apache-2.0
// What the multi-tensor updates share. Inputs are groups of n tensors (weights, gradients, slots),
// then scalars ending in grad_scale and commit (and `rows`, kRows); outputs are the weights and the
// slots after the step. When commit is false they equal the inputs bit for bit (decision of the
// whole step, so it is an operand). An op's own attributes come first, then the table of segments:
// what differs from variable to variable.
#pragma once

#include <array>

#include "ir/builder.h"
#include "ops/common/infer.h"

namespace ostria::ops {

// The scalars: their dtypes are fixed, whatever the weights are. The rate may also be a vector, of
// which attribute `rates` names one element per variable.
inline constexpr InputDef kRate = {"lr", Arity::kOne, false};
inline constexpr InputDef kStep = {"step", Arity::kOne, false};
inline constexpr InputDef kGradScale = {"grad_scale", Arity::kOne, false};
inline constexpr InputDef kCommit = {"commit", Arity::kOne, false};
inline constexpr AttrDef kWeightDecay = {"weight_decay", AttrType::kFloat, "0"};
inline constexpr AttrDef kDecayMask = {"decay", AttrType::kInts, "[]"};
inline constexpr AttrDef kRates = {"rates", AttrType::kInts, "[]"};
/// Form of each gradient: 0 the gradient itself; m > 0 a column of m elements, then a row, whose
/// outer product it is (pass outer_gradients, also in all_finite); kByRows the rows of it that
/// `rows` names (pass row_updates, made by sum_rows).
inline constexpr AttrDef kOuterRows = {"outer", AttrType::kInts, "[]"};
inline constexpr int64_t kByRows = -1;
/// Last input of an update that leaves a row (a slice along the first axis) alone whose gradient is
/// zero, unless weights decay: for every gradient by rows how many rows it has, then which.
inline constexpr InputDef kRows = {"rows", Arity::kOptional, false};
/// Last own attribute of an update that does so only where this is set.
inline constexpr AttrDef kLazyRows = {"lazy", AttrType::kBool, "false"};

// Lines that end the documentation of every update, and of those that take outer products.
#define OSTRIA_SEGMENT_DOC                                              \
  "\nweight_decay: w is multiplied by 1 - lr weight_decay first.\n"     \
  "decay: 0 or 1 per variable, whether it decays; all do when empty.\n" \
  "rates: the element of lr per variable; the only one when empty."
#define OSTRIA_UPDATE_DOC \
  OSTRIA_SEGMENT_DOC      \
  "\nouter: rows of gradients that are given as a column and a row, 0 for others."
#define OSTRIA_ROWS_DOC                                                                     \
  OSTRIA_SEGMENT_DOC                                                                        \
  "\nouter: rows of gradients that are given as a column and a row, -1 for those given by " \
  "rows, 0 for\n"                                                                           \
  "others.\n"                                                                               \
  "rows: of each gradient given by rows how many, then which (see sum_rows)."
#define OSTRIA_LAZY_DOC                                                                   \
  "\nlazy: leave rows (slices along the first axis) alone whose gradient is zero, which " \
  "spares the rows\n"                                                                     \
  "of a table that nobody read." OSTRIA_ROWS_DOC

enum class UpdateTakes : uint8_t { kRate, kRateAndStep };

/// The inputs of an update with these slots.
template <UpdateTakes kTakes, class... Names>
constexpr auto UpdateInputs(Names... slots) {
  constexpr InputDef kW = {"w", Arity::kVariadic}, kG = {"g", Arity::kVariadic};
  if constexpr (kTakes == UpdateTakes::kRate) {
    return std::array{kW, kG, InputDef{slots, Arity::kVariadic}..., kRate, kGradScale, kCommit};
  } else {
    return std::array{kW,         kG,     InputDef{slots, Arity::kVariadic}..., kRate, kStep,
                      kGradScale, kCommit};
  }
}
/// The same of an update that takes gradients by rows.
template <UpdateTakes kTakes, class... Names>
constexpr auto RowUpdateInputs(Names... slots) {
  const auto dense = UpdateInputs<kTakes>(slots...);
  std::array<InputDef, dense.size() + 1> inputs = {};
  for (size_t i = 0; i < dense.size(); ++i) inputs[i] = dense[i];
  inputs.back() = kRows;
  return inputs;
}
/// Its outputs: w_out, then these.
template <class... Names>
constexpr auto UpdateOutputs(Names... slots) {
  return std::array{OutputDef{"w_out", Arity::kVariadic}, OutputDef{slots, Arity::kVariadic}...};
}
/// Its attributes: these, then those of every update.
template <class... Own>
constexpr auto UpdateAttrs(Own... own) {
  return std::array{AttrDef(own)..., kWeightDecay, kDecayMask, kRates, kOuterRows};
}
/// The same of an update that reads whole gradients, because it takes their norms.
template <class... Own>
constexpr auto NormUpdateAttrs(Own... own) {
  return std::array{AttrDef(own)..., kWeightDecay, kDecayMask, kRates};
}
constexpr AttrDef Number(std::string_view name, std::string_view default_text = {}) {
  return {name, AttrType::kFloat, default_text};
}
inline constexpr Traits kUpdateTraits = {.internal = true, .mirror_state = 0, .mirror_gradient = 1};

/// How the operands of an update split, and its table of segments.
struct UpdateForm {
  int groups = 0;      // of tensors: weights, gradients and slots
  int own_attrs = 0;   // attributes before the table
  int lazy_attr = -1;  // where kLazyRows is
  bool has_step = false, has_outer = false, takes_rows = false;
  int scalars() const { return has_step ? 4 : 3; }
  int outputs() const { return groups - 1; }
  int count(size_t inputs) const { return (static_cast<int>(inputs) - scalars()) / groups; }
};
UpdateForm FormOf(const OpDef& op);
/// Whether rows of this update whose gradient is zero stay because it is told so.
bool IsLazy(const OpDef& op, std::span<const Attr> attrs);
/// Whether rows whose gradient is zero stay where weights do not decay: gradients may be rows.
bool LeavesRows(const OpDef& op, std::span<const Attr> attrs);

/// The table as the attributes give it.
class Segments {
 public:
  Segments(const UpdateForm& form, std::span<const Attr> attrs)
      : first_(attrs.data() + form.own_attrs), has_outer_(form.has_outer) {}
  double weight_decay() const { return std::get<double>(first_[0]); }
  const std::vector<int64_t>& decay() const { return Ints(1); }
  const std::vector<int64_t>& rates() const { return Ints(2); }
  /// Whether variable `i` is to decay.
  bool decays(int i) const { return weight_decay() != 0 && (decay().empty() || decay()[i] != 0); }
  /// The element of lr that variable `i` takes.
  int64_t rate(int i) const { return rates().empty() ? 0 : rates()[i]; }
  /// The form of gradient `i`, see kOuterRows.
  int64_t outer_rows(int i) const;

 private:
  const std::vector<int64_t>& Ints(int i) const {
    return std::get<std::vector<int64_t>>(first_[i]);
  }
  const Attr* first_;
  bool has_outer_;
};

/// The shape of slot `slot` (from 0) of a variable of shape `w`.
using SlotShapeFn = Shape (*)(const Shape& w, int slot);
/// Checks operands and table; every group but the gradients comes out again. Slots have the shape
/// of their variable unless `slot_shape` says otherwise.
void InferUpdate(InferContext& c, SlotShapeFn slot_shape = nullptr);
/// Fails unless these attributes are at least 0 and less than 1.
void RequireShares(InferContext& c, std::initializer_list<int> attrs);
/// Fails unless these attributes are at least 0.
void RequireNotNegative(InferContext& c, std::initializer_list<int> attrs);

/// The form of gradient `i`, see kOuterRows.
int64_t OuterRows(const std::vector<int64_t>& rows, int i);
/// The gradient itself: of shape `shape`, from a column of `rows` elements and a row after it.
Value OuterProduct(Builder& b, Value vectors, int64_t rows, const Shape& shape);

/// Gets w (decayed), g (scaled) and the slots in the weight's dtype; returns w and the slots after.
using UpdateRule = std::vector<Value> (*)(Builder& b, std::span<const Attr> attrs, Value w, Value g,
                                          std::span<const Value> slots, Value lr, Value step);
/// For each variable calls `rule`, then chooses by commit; where the update is lazy, by rows.
std::vector<Value> DecomposeUpdate(const OpDef& op, Builder& b, std::span<const Value> in,
                                   std::span<const Attr> attrs, UpdateRule rule);
template <const OpDef& op, UpdateRule rule>
std::vector<Value> DecomposeByRule(Builder& b, std::span<const Value> in,
                                   std::span<const Attr> attrs) {
  return DecomposeUpdate(op, b, in, attrs, rule);
}

// Pieces of rules.

/// slot + (now - slot)(1 - share).
Value Blend(Builder& b, Value slot, Value now, double share);
/// The same as slot share + now (1 - share).
Value Mix(Builder& b, Value slot, Value now, double share);
/// 1 - base^step.
Value BiasCorrection(Builder& b, double base, Value step);

}  // namespace ostria::ops
