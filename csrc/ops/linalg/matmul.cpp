// SPDX-License-Identifier: Apache-2.0
// matmul: products of matrices in the last two axes, leading axes broadcast. Vectors are the Python
// layer's business: it adds an axis before and takes it away after.
#include "ops/common/matmul.h"

#include "ir/grad_context.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {
namespace {

constexpr InputDef kInputs[] = {{"a"}, {"b"}};
constexpr AttrDef kAttrs[] = {{"transpose_a", AttrType::kBool, "false"},
                              {"transpose_b", AttrType::kBool, "false"}};

void Infer(InferContext& c) { c.Out(c.dtype(0), ops::InferProduct(c)); }

Shape FlatRows(const Shape& s) {
  Dim rows = 1;
  for (int i = 0; i + 1 < s.rank(); ++i) rows = rows * s[i];
  return {rows, s[s.rank() - 1]};
}

void Grad(GradContext& c) {
  Builder& b = c.b;
  const bool ta = c.attr<bool>(ops::MatmulAttr::kTransposeA);
  const bool tb = c.attr<bool>(ops::MatmulAttr::kTransposeB);
  const Shape sa = b.shape(c.input(0)), sb = b.shape(c.input(1));
  Value a = c.input(0), g = c.cotangent();
  const Value w = c.input(1);
  if (sb.rank() == 2 && sa.rank() > 2 && !ta) {
    // One weight for all rows: a flat product sums over the leading axes by itself.
    a = ops::Reshape(b, a, FlatRows(sa));
    g = ops::Reshape(b, g, FlatRows(b.shape(g)));
  }
  if (c.Needs(0)) {
    const Value da =
        ta ? b(ops::kMatmul, {w, g}, {tb, true}) : b(ops::kMatmul, {g, w}, {false, !tb});
    c.Set(0, b.shape(da).rank() < sa.rank() ? ops::Reshape(b, da, sa) : ops::SumTo(b, da, sa));
  }
  if (c.Needs(1)) {
    const Value db =
        tb ? b(ops::kMatmul, {g, a}, {true, ta}) : b(ops::kMatmul, {a, g}, {!ta, false});
    c.Set(1, ops::SumTo(b, db, sb));
  }
}

// y[.., m, n] = sum over k of a[.., m, k, 1] * b[.., 1, k, n]
std::vector<Value> Decompose(Builder& b, std::span<const Value> inputs,
                             std::span<const Attr> attrs) {
  if (ops::HasHalf(b, inputs)) return ops::ViaFloat32(b, ops::kMatmul, inputs, attrs);
  Value operands[2];
  for (int i = 0; i < 2; ++i) {
    Value v = inputs[i];
    if (std::get<bool>(attrs[i])) {
      std::vector<int64_t> order;
      for (int axis = 0; axis < b.shape(v).rank(); ++axis) order.push_back(axis);
      std::swap(order[order.size() - 1], order[order.size() - 2]);
      v = b(ops::kTranspose, {v}, {order});
    }
    Shape shape = b.shape(v);
    shape.Insert(i == 0 ? shape.rank() : shape.rank() - 2, 1);
    operands[i] = ops::Reshape(b, v, shape);
  }
  const Value products = b(ops::kMultiply, {operands[0], operands[1]});
  const int64_t k_axis = b.shape(products).rank() - 2;
  const Value sum = b(ops::kSum, {products}, {std::vector<int64_t>{k_axis}, false});
  return {ops::Cast(b, sum, b.dtype(inputs[0]))};  // sums of integers come out wider
}

}  // namespace

constinit const OpDef ops::kMatmul = {
    .name = "matmul",
    .doc =
        "Matrix product over the last two axes of a [.., m, k] and b [.., k, n], giving [.., m, "
        "n].\n"
        "Leading axes broadcast.\n"
        "transpose_a: take the last two axes of a in the other order.\n"
        "transpose_b: take the last two axes of b in the other order.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kLow},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
    .flops = ProductFlops,
};

}  // namespace ostria
