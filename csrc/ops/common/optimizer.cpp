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
  return form;
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

void CheckTensors(InferContext& c, const UpdateForm& form, int n, SlotShapeFn slot_shape) {
  const Segments segments(form, c.attrs());
  for (int group = 0; group < form.groups; ++group) {
    for (int i = 0; i < n; ++i) {
      const int at = group * n + i;
      RequireSameDType(c, 0, at);
      Shape want = c.shape(i);
      const int64_t rows = group == 1 ? segments.outer_rows(i) : 0;
      if (rows < 0) c.Fail("outer holds ", rows, "; rows of a gradient, or 0");
      if (rows != 0) {
        if (want.rank() != 2 || !(want[0] == Dim(rows))) {
          c.Fail("'w", i, "' has shape ", want, ", but its gradient is an outer product of ", rows,
                 " rows");
        }
        want = {want[0] + want[1]};
      }
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

std::vector<Value> DecomposeUpdate(const OpDef& op, Builder& b, std::span<const Value> in,
                                   std::span<const Attr> attrs, UpdateRule rule) {
  const UpdateForm form = FormOf(op);
  const Segments segments(form, attrs);
  const int n = form.count(in.size()), first = form.groups * n;
  const DType dtype = b.dtype(in[0]);
  const Value rates = Cast(b, in[first], dtype);
  const Value step = form.has_step ? Cast(b, in[first + 1], dtype) : Value{};
  const Value grad_scale = Cast(b, in[in.size() - 2], dtype), commit = in[in.size() - 1];
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
    const Value gradient = rows == 0 ? in[n + i] : OuterProduct(b, in[n + i], rows, b.shape(w));
    const Value g = b(kMultiply, {gradient, grad_scale});
    const std::vector<Value> after = rule(b, attrs, w, g, slots, lr, step);
    for (int k = 0; k < form.outputs(); ++k) {
      const Value before = k == 0 ? in[i] : slots[k - 1];
      out[k * n + i] = b(kWhere, {commit, after[k], before});
    }
  }
  return out;
}

Value Blend(Builder& b, Value slot, Value now, double share) {
  return b(kAdd, {slot, Times(b, b(kSubtract, {now, slot}), 1 - share)});
}

Value BiasCorrection(Builder& b, double base, Value step) {
  return Plus(b, b(kNegative, {b(kPow, {Scalar(b, b.dtype(step), base), step})}), 1);
}

}  // namespace ostria::ops
