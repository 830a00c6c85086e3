// SPDX-License-Identifier: Apache-2.0
#include "ops/common/optimizer.h"

#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria::ops {

using Ints = std::vector<int64_t>;

void InferUpdate(InferContext& c, int groups, bool has_step, int weight_decay_attr) {
  const int scalars = has_step ? 4 : 3, n = GroupSize(c.size(), groups, scalars);
  if (n == 0) c.Fail("needs at least one variable");
  const DType dtype = c.dtype(0);
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    c.FailType("updates float32 or float64 variables, not ", dtype,
               "; keep a float32 variable and cast it where it is used");
  }
  const Ints& outer = c.attr<Ints>(weight_decay_attr + 2);
  if (!outer.empty() && static_cast<int>(outer.size()) != n) {
    c.Fail("outer has ", outer.size(), " entries for ", n,
           " variables; give one per variable or none");
  }
  for (int64_t rows : outer) {
    if (rows < 0) c.Fail("outer holds ", rows, "; rows of a gradient, or 0");
  }
  for (int group = 0; group < groups; ++group) {
    for (int i = 0; i < n; ++i) {
      const int at = group * n + i;
      RequireSameDType(c, 0, at);
      Shape want = c.shape(i);
      if (group == 1 && OuterRows(outer, i) != 0) {
        if (want.rank() != 2 || !(want[0] == Dim(outer[i]))) {
          c.Fail("'w", i, "' has shape ", want, ", but its gradient is an outer product of ",
                 outer[i], " rows");
        }
        want = {want[0] + want[1]};
      }
      if (!(c.shape(at) == want)) {
        c.Fail("'", c.op().inputs[group].name, i, "' has shape ", c.shape(at),
               ", but its variable ", c.shape(i));
      }
    }
  }
  const int first = groups * n;
  for (int i = 0; i < scalars; ++i) {
    const ValueType& type = c.input(first + i);
    const std::string_view name = c.op().inputs[groups + i].name;
    const bool is_commit = i + 1 == scalars, is_step = has_step && i == 1;
    const bool good =
        is_commit ? type.dtype == DType::kBool
                  : type.dtype == DType::kFloat32 || (is_step && type.dtype == DType::kInt64);
    if (!good || type.shape.rank() != 0) {
      c.Fail("'", name, "' must be ",
             is_commit ? "bool"
             : is_step ? "int64 or float32"
                       : "float32",
             "[], but is ", type);
    }
  }
  const double weight_decay = c.attr<double>(weight_decay_attr);
  if (!(weight_decay >= 0)) c.Fail("weight_decay is ", weight_decay, "; it must not be negative");
  const Ints& mask = c.attr<Ints>(weight_decay_attr + 1);
  if (!mask.empty() && static_cast<int>(mask.size()) != n) {
    c.Fail("decay has ", mask.size(), " entries for ", n,
           " variables; give one per variable or none");
  }
  for (int group = 0; group < groups; ++group) {
    if (group == 1) continue;  // gradients end here
    for (int i = 0; i < n; ++i) c.Out(c.input(i));
  }
}

bool Decays(const Ints& mask, int i) { return mask.empty() || mask[i] != 0; }

int64_t OuterRows(const Ints& rows, int i) { return rows.empty() ? 0 : rows[i]; }

Value OuterProduct(Builder& b, Value vectors, int64_t rows, const Shape& shape) {
  const auto part = [&](int64_t begin, int64_t end, const Shape& to) {
    return Reshape(b, b(kSlice, {vectors}, {Ints{begin}, Ints{end}, Ints{1}}), to);
  };
  const int64_t cols = shape[1].value();
  return b(kMultiply, {part(0, rows, {rows, 1}), part(rows, rows + cols, {1, cols})});
}

std::vector<Value> DecomposeUpdate(Builder& b, std::span<const Value> in,
                                   std::span<const Attr> attrs, int groups, bool has_step,
                                   int weight_decay_attr, UpdateRule rule) {
  const int n = GroupSize(in.size(), groups, has_step ? 4 : 3), first = groups * n;
  const DType dtype = b.dtype(in[0]);
  const Value lr = Cast(b, in[first], dtype);
  const Value step = has_step ? Cast(b, in[first + 1], dtype) : Value{};
  const Value grad_scale = Cast(b, in[in.size() - 2], dtype), commit = in[in.size() - 1];
  const double weight_decay = std::get<double>(attrs[weight_decay_attr]);
  const Ints& mask = std::get<Ints>(attrs[weight_decay_attr + 1]);
  const Ints& outer = std::get<Ints>(attrs[weight_decay_attr + 2]);
  std::vector<Value> out(static_cast<size_t>(n) * (groups - 1));
  for (int i = 0; i < n; ++i) {
    Value w = in[i];
    if (weight_decay != 0 && Decays(mask, i)) {
      w = b(kMultiply, {w, Plus(b, Times(b, lr, -weight_decay), 1)});
    }
    std::vector<Value> slots;
    for (int group = 2; group < groups; ++group) slots.push_back(in[group * n + i]);
    const int64_t rows = OuterRows(outer, i);
    const Value gradient = rows == 0 ? in[n + i] : OuterProduct(b, in[n + i], rows, b.shape(w));
    const Value g = b(kMultiply, {gradient, grad_scale});
    const std::vector<Value> after = rule(b, attrs, w, g, slots, lr, step);
    for (int k = 0; k + 1 < groups; ++k) {
      const Value before = k == 0 ? in[i] : slots[k - 1];
      out[k * n + i] = b(kWhere, {commit, after[k], before});
    }
  }
  return out;
}

}  // namespace ostria::ops
