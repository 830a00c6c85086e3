// SPDX-License-Identifier: Apache-2.0
#include "ops/common/along_axis.h"

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {{"x"}, {"indices", Arity::kOne, false}, {"values"}};
constexpr AttrDef kAttrs[] = {{"axis", AttrType::kInt, "-1"},
                              {"reduce", AttrType::kString, "\"update\""}};

// That of the places written to: x's with as many along the axis as there are indices.
Shape Places(const Shape& x, const Shape& indices, int axis) {
  return WithSize(x, axis, indices[axis]);
}

void RequireFits(const InferContext& c, int i, const Shape& places) {
  const Shape& from = c.shape(i);
  const int added = places.rank() - from.rank();
  bool fits = added >= 0;
  for (int k = 0; fits && k < from.rank(); ++k) {
    fits = from[k] == Dim(1) || Equal(from[k], places[k + added]) == Tri::kYes;
  }
  if (fits) return;
  c.Fail("'", InputName(c, i), "' has shape ", from, ", which does not broadcast to the ", places,
         " places of x of shape ", c.shape(0), " that are written to");
}

void Infer(InferContext& c) {
  const int axis = RequireAlongAxis(c);
  RequireSameDType(c, 0, 2);
  const std::string& reduce = c.attr<std::string>(AlongAxisAttr::kReduce);
  if (reduce != "update" && reduce != "add" && reduce != "max" && reduce != "min") {
    c.Fail("reduce is '", reduce, "'; accepted are 'update', 'add', 'max' and 'min'");
  }
  if (reduce != "update") RequireNumber(c, 0);
  const Shape places = Places(c.shape(0), c.shape(1), axis);
  RequireFits(c, 1, places);
  RequireFits(c, 2, places);
  c.Out(c.input(0));
}

// update: only the last value of a place has an effect, the one whose number is still there when
// all have written theirs. max and min: shared equally by what equals the result.
void Grad(GradContext& c) {
  Builder& b = c.b;
  const Value x = c.input(0), y = c.output(), g = c.cotangent();
  const Shape shape = b.shape(x), given = b.shape(c.input(2));
  const DType t = b.dtype(x);
  const std::string reduce = c.attr<std::string>(AlongAxisAttr::kReduce);
  const int axis = Axis(c.attr<int64_t>(AlongAxisAttr::kAxis), shape.rank());
  const Shape places = Places(shape, b.shape(c.input(1)), axis);
  const Value indices = BroadcastTo(b, c.input(1), places);
  const Value values = BroadcastTo(b, c.input(2), places);
  const Value zero = Scalar(b, t, 0.0);
  const auto take = [&](Value from) { return b(kTakeAlongAxis, {from, indices}, {int64_t{axis}}); };
  const auto put = [&](Value into, Value what, std::string how) {
    return b(kPutAlongAxis, {into, indices, what}, {int64_t{axis}, std::move(how)});
  };
  Value dx = g, dvalues;
  if (reduce == "add") {
    dvalues = take(g);
  } else if (reduce == "update") {
    if (c.Needs(0)) dx = put(g, Full(b, {t, places}, 0.0), "update");
    const Value number =
        Reshape(b, b(kIota, {}, {Shape{places.numel_dim()}, DType::kInt64}), places);
    const Value last = put(Full(b, {DType::kInt64, shape}, 0.0), number, "update");
    dvalues = b(kWhere, {b(kEqual, {take(last), number}), take(g), zero});
  } else {
    const Value kept = b(kEqual, {x, y}), won = b(kEqual, {values, take(y)});
    const Value winners = put(Cast(b, kept, t), Cast(b, won, t), "add");
    const Value share = b(kDivide, {g, b(kMaximum, {winners, Scalar(b, t, 1.0)})});
    dx = b(kWhere, {kept, share, zero});
    dvalues = b(kWhere, {won, take(share), zero});
  }
  if (c.Needs(0)) c.Set(0, dx);
  if (c.Needs(2)) c.Set(2, SumTo(b, dvalues, given));
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  // Halves are summed in float32.
  const bool adds = std::get<std::string>(attrs[AlongAxisAttr::kReduce]) == "add";
  if (adds && HasHalf(b, in)) return ViaFloat32(b, kPutAlongAxis, in, attrs);
  const Shape shape = b.shape(in[0]);
  const int axis = Axis(std::get<int64_t>(attrs[AlongAxisAttr::kAxis]), shape.rank());
  const Shape places = Places(shape, b.shape(in[1]), axis);
  const Value indices = BroadcastTo(b, in[1], places), values = BroadcastTo(b, in[2], places);
  return {b(kPutAlongAxis, {in[0], indices, values}, {attrs.begin(), attrs.end()})};
}

double Flops(std::span<const ValueType> in, std::span<const ValueType>,
             std::span<const Attr> attrs) {
  if (std::get<std::string>(attrs[AlongAxisAttr::kReduce]) == "update") return 0;
  const int axis = Axis(std::get<int64_t>(attrs[AlongAxisAttr::kAxis]), in[0].shape.rank());
  return static_cast<double>(Places(in[0].shape, in[1].shape, axis).numel());
}

}  // namespace

constinit const OpDef ops::kPutAlongAxis = {
    .name = "put_along_axis",
    .doc =
        "x with `values` written to its elements at `indices`, which count along an axis.\n"
        "`indices` and `values` broadcast to the places written to, those of x with as many along "
        "the axis as there are indices. Negative indices count from the end; others outside are an "
        "IndexError at run time.\n"
        "indices: int32 or int64, of x's rank.\n"
        "axis: the axis of x that the indices count along.\n"
        "reduce: what becomes of an element written to: 'update', the last value of it, 'add', "
        "their sum with x's own, 'max' or 'min'; the gradient of these two is shared between ties.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.smooth = false, .checks_data = true},
    .infer = Infer,
    .grad = Grad,
    .decompose = Decompose,
    .flops = Flops,
};

}  // namespace ostria
