// SPDX-License-Identifier: Apache-2.0
// Resizing is separable: per axis a repetition or a gather (nearest), else a resample.
#include <algorithm>
#include <string>

#include "ops/common/build.h"
#include "ops/common/rearrange.h"
#include "ops/common/resample.h"
#include "ops/common/window.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kSize, kMethod };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"size", AttrType::kInts},
                              {"method", AttrType::kString, "\"bilinear\""}};

using Ints = std::vector<int64_t>;

void Infer(InferContext& c) {
  RequireFloat(c, 0);
  const Shape& x = c.shape(0);
  const int dims = SpatialDims(c, 0);
  const Ints& size = c.attr<Ints>(kSize);
  bool good = size.size() == static_cast<size_t>(dims);
  for (int64_t n : size) good &= n >= 1;
  if (!good) {
    c.Fail("size must be ", dims, " integers of at least 1 (", SpatialNames(dims), ") for x ", x,
           ", but is (", Join(size, ", "), ")");
  }
  Interpolation method;
  if (!ParseInterpolation(c.attr<std::string>(kMethod), &method)) {
    c.Fail("method \"", c.attr<std::string>(kMethod),
           "\" is not known; accepted are \"nearest\", \"bilinear\" and \"bicubic\"");
  }
  Shape y = {x[0]};
  for (int i = 0; i < dims; ++i) {
    if (!x[i + 1].is_static()) {
      c.Fail("the ", SpatialNames(dims), " of x ", x, " must be known; only the batch may vary");
    }
    if (x[i + 1] == Dim(0)) c.Fail("x ", x, " has no elements to interpolate between");
    y.Append(size[static_cast<size_t>(i)]);
  }
  y.Append(x[dims + 1]);
  c.Out(c.dtype(0), y);
}

Value Nearest(Builder& b, Value x, int axis, int64_t from, int64_t to) {
  if (to % from == 0) return RepeatBlocks(b, x, axis, axis + 1, to / from);
  const Tensor indices = Tensor::Empty(DType::kInt64, {to});
  for (int64_t i = 0; i < to; ++i) {
    indices.data<int64_t>()[i] = std::min(from - 1, (2 * i + 1) * from / (2 * to));
  }
  return b(kGather, {x, b(kConstant, {}, {indices})}, {int64_t{axis}});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const std::string& method = std::get<std::string>(attrs[kMethod]);
  const Ints& size = std::get<Ints>(attrs[kSize]);
  Value x = in[0];
  for (int i = 0; i < static_cast<int>(size.size()); ++i) {
    const int64_t from = b.shape(x)[i + 1].value(), to = size[static_cast<size_t>(i)];
    if (from == to) continue;
    x = method == "nearest" ? Nearest(b, x, i + 1, from, to)
                            : b(kResample, {x}, {int64_t{i + 1}, to, method, false});
  }
  return {x};
}

}  // namespace

constinit const OpDef ops::kResize = {
    .name = "resize",
    .doc =
        "Images x [n, ..., c] with other sizes along their one to three spatial axes. Centres of\n"
        "pixels are half a pixel from the edges; making an image smaller does not blur it first\n"
        "(no antialiasing), as tf.image.resize and keras.ops.image.resize do by default.\n"
        "size: the new spatial sizes.\n"
        "method: \"nearest\", \"bilinear\" (linear along every axis) or \"bicubic\" (Keys' cubic\n"
        "with a = -1/2, weights of pixels outside the image left out).",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .infer = Infer,
    .grad = NoGrad("it is differentiated through its decomposition"),
    .decompose = Decompose,
};

}  // namespace ostria
