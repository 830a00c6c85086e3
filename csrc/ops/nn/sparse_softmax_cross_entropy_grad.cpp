// SPDX-License-Identifier: Apache-2.0
// g (softmax(logits) - onehot(labels)), in one pass over the logits. The loss costs a logarithm per
// row more: a pass makes this the only node where a step wants both.
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/classes.h"
#include "ops/common/infer.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr OutputDef kOutputs[] = {{"dlogits"}, {"loss"}};
constexpr InputDef kInputs[] = {{"logits"}, {"labels", Arity::kOne, false}, {"g"}};
constexpr AttrDef kAttrs[] = {{"classes", AttrType::kInt, "-1"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireIndex(c, 1);
  // Where a pass took a cast of the logits away, rows keep the dtype that they had behind it.
  if (SizeOf(c.dtype(0)) != 2 || c.dtype(2) != DType::kFloat32) RequireSameDType(c, 0, 2);
  Shape rows = c.shape(0);
  if (rows.rank() == 0)
    c.Fail("'logits' must have rank 1 or more: its last axis holds the classes");
  rows.Remove(rows.rank() - 1);
  if (!(rows == c.shape(1)) || !(rows == c.shape(2))) {
    c.Fail("'labels' ", c.shape(1), " and 'g' ", c.shape(2), " must have shape ", rows);
  }
  RequireClasses(c);
  c.Out(c.input(0));
  c.Out(c.input(2));
}

Value Column(Builder& b, Value rows) {
  Shape shape = b.shape(rows);
  shape.Append(1);
  return Reshape(b, rows, shape);
}

// softmax - onehot
Value Difference(Builder& b, Value logits, Value labels, Value softmax) {
  const ValueType type = b.type(logits);
  const int64_t classes = type.shape[type.shape.rank() - 1].value();
  return b(kSubtract, {softmax, b(kOneHot, {labels}, {classes, type.dtype})});
}

// With cotangent u: dg = sum(u (p - onehot)); dlogits = g p (u - sum(u p)) = g * softmax_grad(p, u)
void Grad(GradContext& c) {
  Builder& b = c.b;
  if (c.HasCotangent(1)) {
    c.Set(0, b.Multi(kSparseSoftmaxCrossEntropyGrad, {c.input(0), c.input(1), c.cotangent(1)},
                     {c.attr<int64_t>(kClassesAttr)})[0]);
  }
  const std::vector<Attr> attrs = {c.attr<int64_t>(kClassesAttr)};
  const Value logits = WithoutTail(b, c.input(0), attrs);
  const Value u = WithoutTail(b, c.cotangent(), attrs);
  const Value p = b(kSoftmax, {logits}, {int64_t{-1}});
  if (c.Needs(0)) {
    const Value inner = b(kSoftmaxGrad, {p, u}, {int64_t{-1}});
    const ValueType whole = b.type(c.input(0));  // a copy: nodes are added
    c.Set(0, WithTail(b, b(kMultiply, {Column(b, c.input(2)), inner}), whole));
  }
  if (c.Needs(2)) {
    const Value product = b(kMultiply, {u, Difference(b, logits, c.input(1), p)});
    c.Set(2, b(kSum, {product}, {std::vector<int64_t>{-1}, false}));
  }
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kSparseSoftmaxCrossEntropyGrad, in, attrs);
  if (HasTail(b, in[0], attrs)) {
    const std::vector<Value> cut =
        b.Multi(kSparseSoftmaxCrossEntropyGrad, {WithoutTail(b, in[0], attrs), in[1], in[2]});
    return {WithTail(b, cut[0], b.type(in[0])), cut[1]};
  }
  const Value p = b(kSoftmax, {in[0]}, {int64_t{-1}});
  return {b(kMultiply, {Column(b, in[2]), Difference(b, in[0], in[1], p)}),
          b(kSparseSoftmaxCrossEntropy, {in[0], in[1]})};
}

// A softmax, a difference and a product; per row what the loss adds to the maximum and the sum.
double Flops(std::span<const ValueType> in, std::span<const ValueType> out, std::span<const Attr>) {
  return 7.0 * static_cast<double>(in[0].shape.numel()) +
         2.0 * static_cast<double>(out[1].shape.numel());
}

}  // namespace

constinit const OpDef ops::kSparseSoftmaxCrossEntropyGrad = {
    .name = "sparse_softmax_cross_entropy_grad",
    .doc =
        "The gradient of sparse_softmax_cross_entropy with respect to the logits, and the loss.\n"
        "classes: as for the loss; behind them the gradient is 0.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.checks_data = true, .internal = true, .amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .flops = Flops,
};

}  // namespace ostria
