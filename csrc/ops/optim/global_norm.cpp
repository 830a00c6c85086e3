// SPDX-License-Identifier: Apache-2.0
// Sums of squares are added up tensor by tensor in the order given, so the result is the same
// however many threads run and wherever the tensors lie.
#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"xs", Arity::kVariadic}};

void Infer(InferContext& c) {
  if (c.size() == 0) c.Fail("needs at least one tensor");
  for (int i = 0; i < c.size(); ++i) RequireFloat(c, i);
  c.Out(DType::kFloat32, {});
}

// d sqrt(sum x^2) = x / norm, and 0 where the norm is.
void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value norm = c.output(), zero = Scalar(b, DType::kFloat32, 0);
  const Value is_zero = b(kEqual, {norm, zero});
  const Value safe = b(kWhere, {is_zero, Scalar(b, DType::kFloat32, 1), norm});
  const Value factor = b(kWhere, {is_zero, zero, b(kDivide, {c.cotangent(), safe})});
  for (int i = 0; i < c.size(); ++i) {
    if (!c.Needs(i)) continue;
    const Value x = c.input(i);
    c.Set(i, b(kMultiply, {x, Cast(b, factor, b.dtype(x))}));
  }
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr>) {
  Value sum;
  for (Value x : in) {
    const Value wide = SizeOf(b.dtype(x)) == 2 ? Cast(b, x, DType::kFloat32) : x;
    const Value one = Cast(b, b(kSum, {b(kSquare, {wide})}), DType::kFloat32);
    sum = sum.valid() ? b(kAdd, {sum, one}) : one;
  }
  return {b(kSqrt, {sum})};
}

}  // namespace

constinit const OpDef ops::kGlobalNorm = {
    .name = "global_norm",
    .doc = "The Euclidean norm of all elements of all tensors together; float32[].",
    .inputs = kInputs,
    .outputs = kOneOutput,
    .traits = {.amp = Amp::kFp32},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .on_empty = OnEmpty::kRun,
};

}  // namespace ostria
