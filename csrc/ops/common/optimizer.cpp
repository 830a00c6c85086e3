// SPDX-License-Identifier: Apache-2.0
#include "ops/common/optimizer.h"

#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria::ops {

using Ints = std::vector<int64_t>;

UpdateForm FormOf(const OpDef& op) {
  UpdateForm form;
  for (const InputDef& input : op.inputs) {
    form.groups += input.arity == Arity::kVariadic;
    form.has_step |= input.name == kStep.name;
  }
  while (op.attrs[form.own_attrs].name != kWeightDecay.name) ++form.own_attrs;
  form.has_outer = op.attrs.back().name == kOuterRows.name;
  form.takes_rows = op.inputs.back().name == kRows.name;
  if (form.own_attrs > 0 && op.attrs[form.own_attrs - 1].name == kLazyRows.name) {
    form.lazy_attr = form.own_attrs - 1;
  }
  return form;
}

bool IsLazy(const OpDef& op, std::span<const Attr> attrs) {
  const int at = FormOf(op).lazy_attr;
  return at >= 0 && std::get<bool>(attrs[at]);
}

bool LeavesRows(const OpDef& op, std::span<const Attr> attrs) {
  const UpdateForm form = FormOf(op);
  return form.takes_rows && (form.lazy_attr < 0 || std::get<bool>(attrs[form.lazy_attr]));
}

int64_t Segments::outer_rows(int i) const { return has_outer_ ? OuterRows(Ints(3), i) : 0; }

int64_t OuterRows(const Ints& rows, int i) { return rows.empty() ? 0 : rows[i]; }

void RequireShares(InferContext& c, std::initializer_list<int> attrs) {
  for (int i : attrs) {
    const double value = c.attr<double>(i);
    if (!(value >= 0 && value < 1)) {
      c.Fail(c.op().attrs[i].name, " is ", value, "; it must be in [0, 1)");
    }
  }
}

void RequireNotNegative(InferContext& c, std::initializer_list<int> attrs) {
  for (int i : attrs) {
    const double value = c.attr<double>(i);
    if (!(value >= 0)) c.Fail(c.op().attrs[i].name, " is ", value, "; it must not be negative");
  }
}

namespace {

void CheckLengths(InferContext& c, const UpdateForm& form, int n) {
  for (size_t i = form.own_attrs + 1; i < c.op().attrs.size(); ++i) {
    const Ints& entries = c.attr<Ints>(static_cast<int>(i));
    if (!entries.empty() && static_cast<int>(entries.size()) != n) {
      c.Fail(c.op().attrs[i].name, " has ", entries.size(), " entries for ", n,
             " variables; give one per variable or none");
    }
  }
}

// The shape of the gradient of variable `i`, which is not given whole.
Shape GradientShape(InferContext& c, const UpdateForm& form, int n, int i) {
  const Segments segments(form, c.attrs());
  const int64_t rows = segments.outer_rows(i);
  Shape want = c.shape(i);
  if (rows < kByRows || (rows == kByRows && !form.takes_rows)) {
    c.Fail("outer holds ", rows, "; rows of a gradient, ",
           form.takes_rows ? StrCat("0 or ", kByRows) : "or 0");
  }
  if (rows == kByRows) {
    if (c.size() == form.groups * n + form.scalars()) {
      c.Fail("the gradient of 'w", i, "' is given by rows, but 'rows' is not");
    }
    if (!LeavesRows(c.op(), c.attrs()) || segments.decays(i)) {
      c.Fail("'w", i, "' ", segments.decays(i) ? "decays" : "is not lazy",
             ", so its gradient cannot be given by rows");
    }
    const Shape& sums = c.shape(n + i);
    if (want.rank() == 0 || sums.rank() == 0) {
      c.Fail("'w", i, "' of shape ", want, " has no rows, but its gradient is given by rows");
    }
    want[0] = sums[0];
    return want;
  }
  if (IsLazy(c.op(), c.attrs())) {
    c.Fail("'w", i, "' is lazy, so its gradient cannot be an outer product");
  }
  if (want.rank() != 2 || !(want[0] == Dim(rows))) {
    c.Fail("'w", i, "' has shape ", want, ", but its gradient is an outer product of ", rows,
           " rows");
  }
  return {want[0] + want[1]};
}

void CheckTensors(InferContext& c, const UpdateForm& form, int n, SlotShapeFn slot_shape) {
  const Segments segments(form, c.attrs());
  for (int group = 0; group < form.groups; ++group) {
    for (int i = 0; i < n; ++i) {
      const int at = group * n + i;
      RequireSameDType(c, 0, at);
      Shape want = c.shape(i);
      if (group == 1 && segments.outer_rows(i) != 0) want = GradientShape(c, form, n, i);
      if (group > 1 && slot_shape != nullptr) want = slot_shape(want, group - 2);
      if (!(c.shape(at) == want)) {
        c.Fail("'", c.op().inputs[group].name, i, "' has shape ", c.shape(at),
               ", but its variable ", c.shape(i));
      }
    }
  }
}

void CheckScalars(InferContext& c, const UpdateForm& form, int n) {
  const int first = form.groups * n;
  for (int i = 0; i < form.scalars(); ++i) {
    const ValueType& type = c.input(first + i);
    const std::string_view name = c.op().inputs[form.groups + i].name;
    const bool is_commit = i + 1 == form.scalars(), is_step = form.has_step && i == 1;
    const bool good =
        is_commit ? type.dtype == DType::kBool
                  : type.dtype == DType::kFloat32 || (is_step && type.dtype == DType::kInt64);
    if (!good || (type.shape.rank() != 0 && (i != 0 || type.shape.rank() != 1))) {
      c.Fail("'", name, "' must be ",
             is_commit ? "bool"
             : is_step ? "int64 or float32"
                       : "float32",
             "[], but is ", type);
    }
  }
  const Shape& rate = c.shape(first);
  const Ints& rates = Segments(form, c.attrs()).rates();
  if (rate.rank() == 1 && rates.empty()) {
    c.Fail("'lr' has shape ", rate, "; give rates, the element of each variable");
  }
  for (int64_t r : rates) {
    if (r < 0 || (rate.rank() == 0 ? r != 0 : rate.is_static() && r >= rate[0].value())) {
      c.Fail("rates holds ", r, ", but 'lr' has shape ", rate);
    }
  }
}

void CheckRows(InferContext& c, const UpdateForm& form, int n) {
  const int at = form.groups * n + form.scalars();
  if (c.size() == at) return;
  const Segments segments(form, c.attrs());
  Dim named = int64_t{0};
  for (int i = 0; i < n; ++i) {
    if (segments.outer_rows(i) == kByRows) named = named + c.shape(n + i)[0] + 1;
  }
  const ValueType& rows = c.input(at);
  if (rows.dtype != DType::kInt32 || !(rows.shape == Shape{named})) {
    c.Fail("'rows' must be int32[", named,
           "], one entry per row of a gradient and one per gradient given by rows, but is ", rows);
  }
}

}  // namespace

void InferUpdate(InferContext& c, SlotShapeFn slot_shape) {
  const UpdateForm form = FormOf(c.op());
  const int n = form.count(static_cast<size_t>(c.size()));
  if (n == 0) c.Fail("needs at least one variable");
  const DType dtype = c.dtype(0);
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    c.FailType("updates float32 or float64 variables, not ", dtype,
               "; keep a float32 variable and cast it where it is used");
  }
  CheckLengths(c, form, n);
  CheckTensors(c, form, n, slot_shape);
  CheckScalars(c, form, n);
  CheckRows(c, form, n);
  RequireNotNegative(c, {form.own_attrs});
  for (int group = 0; group < form.groups; ++group) {
    if (group == 1) continue;  // gradients end here
    for (int i = 0; i < n; ++i) c.Out(c.input(group * n + i));
  }
}

Value OuterProduct(Builder& b, Value vectors, int64_t rows, const Shape& shape) {
  const auto part = [&](int64_t begin, int64_t end, const Shape& to) {
    return Reshape(b, b(kSlice, {vectors}, {Ints{begin}, Ints{end}, Ints{1}}), to);
  };
  const int64_t cols = shape[1].value();
  return b(kMultiply, {part(0, rows, {rows, 1}), part(rows, rows + cols, {1, cols})});
}

namespace {

// Whether a row has an element that is not 0: bool[rows, 1, …].
Value HasRows(Builder& b, Value gradient) {
  const Value moves = b(kNotEqual, {gradient, Scalar(b, b.dtype(gradient), 0)});
  Ints axes;
  for (int i = 1; i < b.shape(gradient).rank(); ++i) axes.push_back(i);
  return axes.empty() ? moves : b(kAny, {moves}, {axes, true});
}

}  // namespace

std::vector<Value> DecomposeUpdate(const OpDef& op, Builder& b, std::span<const Value> in,
                                   std::span<const Attr> attrs, UpdateRule rule) {
  const UpdateForm form = FormOf(op);
  const Segments segments(form, attrs);
  const int n = form.count(in.size()), first = form.groups * n;
  const DType dtype = b.dtype(in[0]);
  const Value rates = Cast(b, in[first], dtype);
  const Value step = form.has_step ? Cast(b, in[first + 1], dtype) : Value{};
  const Value grad_scale = Cast(b, in[first + form.scalars() - 2], dtype);
  const Value commit = in[first + form.scalars() - 1];
  const bool lazy = IsLazy(op, attrs);
  int64_t named = 0;  // entries of `rows` so far
  std::vector<Value> out(static_cast<size_t>(n) * form.outputs());
  for (int i = 0; i < n; ++i) {
    Value w = in[i], lr = rates;
    if (b.shape(rates).rank() == 1) {
      const int64_t at = segments.rate(i);
      lr = Reshape(b, b(kSlice, {rates}, {Ints{at}, Ints{at + 1}, Ints{1}}), {});
    }
    if (segments.decays(i)) {
      w = b(kMultiply, {w, Plus(b, Times(b, lr, -segments.weight_decay()), 1)});
    }
    std::vector<Value> slots;
    for (int group = 2; group < form.groups; ++group) slots.push_back(in[group * n + i]);
    const int64_t rows = segments.outer_rows(i);
    Value gradient = in[n + i];
    if (rows == kByRows) {
      const int64_t end = named + 1 + b.shape(gradient)[0].value();
      const Value ids =
          b(kSlice, {in[first + form.scalars()]}, {Ints{named + 1}, Ints{end}, Ints{1}});
      gradient = b(kScatterAdd, {ZerosLike(b, in[i]), ids, gradient});
      named = end;
    } else if (rows != 0) {
      gradient = OuterProduct(b, gradient, rows, b.shape(w));
    }
    const Value moves = lazy ? b(kLogicalAnd, {commit, HasRows(b, gradient)}) : commit;
    const Value g = b(kMultiply, {gradient, grad_scale});
    const std::vector<Value> after = rule(b, attrs, w, g, slots, lr, step);
    for (int k = 0; k < form.outputs(); ++k) {
      const Value before = k == 0 ? in[i] : slots[k - 1];
      out[k * n + i] = b(kWhere, {moves, after[k], before});
    }
  }
  return out;
}

Value Blend(Builder& b, Value slot, Value now, double share) {
  return b(kAdd, {slot, Times(b, b(kSubtract, {now, slot}), 1 - share)});
}

Value Mix(Builder& b, Value slot, Value now, double share) {
  return b(kAdd, {Times(b, slot, share), Times(b, now, 1 - share)});
}

Value BiasCorrection(Builder& b, double base, Value step) {
  return Plus(b, b(kNegative, {b(kPow, {Scalar(b, b.dtype(step), base), step})}), 1);
}

}  // namespace ostria::ops
