// SPDX-License-Identifier: Apache-2.0
#include "ops/common/sort.h"

#include "ir/grad_context.h"
#include "ops/common/build.h"

namespace ostria {

using namespace ops;

namespace {

constexpr AttrDef kAttrs[] = {
    {"k", AttrType::kInt}, {"axis", AttrType::kInt, "-1"}, {"largest", AttrType::kBool, "true"}};
constexpr OutputDef kOutputs[] = {{"values"}, {"indices"}};

void Infer(InferContext& c) {
  const int64_t k = c.attr<int64_t>(TopKAttr::kK);
  Shape out = c.shape(0);
  const int axis = NormalizeAxis(c, c.attr<int64_t>(TopKAttr::kAxis), out);
  const Dim have = out[axis];
  if (k < 0 || (have.is_static() && k > have.value())) {
    c.Fail("k is ", k, ", but axis ", axis, " of shape ", c.shape(0), " has ", have,
           " elements; give 0..", have);
  }
  out[axis] = k;
  c.Out(c.dtype(0), out);
  c.Out(DType::kInt64, out);
}

void Grad(GradContext& c) {
  if (!c.HasCotangent(0)) return;
  Builder& b = c.b;
  const Value zeros = ZerosLike(b, c.input(0));
  c.Set(0, b(kPutAlongAxis, {zeros, c.output(1), c.cotangent(0)},
             {c.attr<int64_t>(TopKAttr::kAxis), std::string("update")}));
}

// One comparison against the last that is taken, and those that place an element among k.
double Flops(std::span<const ValueType> in, std::span<const ValueType>,
             std::span<const Attr> attrs) {
  return static_cast<double>(in[0].shape.numel()) *
         (1 + ComparisonsEach(std::get<int64_t>(attrs[TopKAttr::kK])));
}

}  // namespace

constinit const OpDef ops::kTopK = {
    .name = "top_k",
    .doc =
        "The k largest elements along an axis, the largest first, and their int64 positions.\n"
        "Among equal elements the first ones are taken, in their order. NaN comes last, as in "
        "sort.\n"
        "k: how many, at most the size of the axis.\n"
        "axis: the axis.\n"
        "largest: false for the smallest elements, the smallest first.",
    .inputs = kSortInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.smooth = false},
    .infer = Infer,
    .grad = Grad,
    .flops = Flops,
};

}  // namespace ostria
