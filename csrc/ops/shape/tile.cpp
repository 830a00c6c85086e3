// SPDX-License-Identifier: Apache-2.0
#include "ops/common/rearrange.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kRepetitions };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"repetitions", AttrType::kInts}};

using Ints = std::vector<int64_t>;

// x with leading axes of size 1, as many axes as there are repetitions.
Shape Widened(const Shape& shape, const Ints& times) {
  Shape wide;
  for (int i = shape.rank(); i < static_cast<int>(times.size()); ++i) wide.Append(1);
  for (Dim d : shape) wide.Append(d);
  return wide;
}

void Infer(InferContext& c) {
  const Ints& times = c.attr<Ints>(kRepetitions);
  Shape out = Widened(c.shape(0), times);
  const int first = out.rank() - static_cast<int>(times.size());
  for (size_t i = 0; i < times.size(); ++i) {
    RequireTimes(c, times[i]);
    const int axis = first + static_cast<int>(i);
    out[axis] = out[axis] * Dim(times[i]);
  }
  c.Out(c.dtype(0), out);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const Ints& times = std::get<Ints>(attrs[kRepetitions]);
  const Shape wide = Widened(b.shape(in[0]), times);
  Value x = Reshape(b, in[0], wide);
  const int first = wide.rank() - static_cast<int>(times.size());
  for (size_t i = 0; i < times.size(); ++i) {
    const int axis = first + static_cast<int>(i);
    x = RepeatBlocks(b, x, axis, axis, times[i]);
  }
  return {x};
}

}  // namespace

constinit const OpDef ops::kTile = {
    .name = "tile",
    .doc =
        "Copies of x side by side, as NumPy's tile.\n"
        "repetitions: how many along each axis, the last ones first; more numbers than x has axes "
        "add axes in front.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
    .flops = NoFlops,
};

}  // namespace ostria
