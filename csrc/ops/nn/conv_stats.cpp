// SPDX-License-Identifier: Apache-2.0
// A convolution whose result is normalised over its batch: the sums come while it is in registers.
// Where the image is itself normalised, that and its relu are computed while it is read, so that
// neither is ever stored.
#include "ops/common/build.h"
#include "ops/common/conv.h"
#include "ops/common/norm.h"
#include "ops/common/via_float32.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

constexpr InputDef kInputs[] = {
    {"x"}, {"kernel"}, {"factor", Arity::kOptional}, {"shift", Arity::kOptional}};
constexpr AttrDef kAttrs[] = {{"strides", AttrType::kInts},
                              {"padding", AttrType::kInts},
                              {"dilation", AttrType::kInts},
                              {"groups", AttrType::kInt}};
constexpr OutputDef kOutputs[] = {{"y"}, {"sum"}, {"square_sum"}};

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  RequireSameDType(c, 0, 1);
  const int dims = SpatialDims(c, 0);
  const Shape y = InferConv(c, dims, c.shape(0), c.shape(1));
  if (c.size() == 3) c.Fail("'factor' needs 'shift' beside it");
  for (int i = 2; i < c.size(); ++i) RequireChannels(c, i, InferChannels(c, 0));
  const DType sums = SizeOf(c.dtype(0)) == 2 ? DType::kFloat32 : c.dtype(0);
  c.Out(c.dtype(0), y);
  for (int i = 0; i < 2; ++i) c.Out(sums, {y[dims + 1]});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  if (HasHalf(b, in)) return ViaFloat32(b, kConvStats, in, attrs);
  Value x = in[0];
  if (in.size() == 4) x = b(kRelu, {b(kAdd, {b(kMultiply, {x, in[2]}), in[3]})});
  const Value y = b(ConvOp(b.shape(x).rank() - 2), {x, in[1]}, WithoutSize(attrs));
  const std::vector<int64_t> axes = LeadingAxes(b, y).first;
  return {y, b(kSum, {y}, {axes, false}), b(kSum, {b(kSquare, {y})}, {axes, false})};
}

}  // namespace

constinit const OpDef ops::kConvStats = {
    .name = "conv_stats",
    .doc =
        "y, the convolution of z with kernel, and the sums of y and y^2 per channel, float32 where "
        "x\n"
        "has 16 bits. z is relu(x factor + shift) with numbers per channel, or x without them.\n"
        "strides: as for the convolution.\n"
        "padding: as for the convolution.\n"
        "dilation: as for the convolution.\n"
        "groups: as for the convolution.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.smooth = false, .internal = true, .amp = Amp::kLow},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kZero,
};

}  // namespace ostria
