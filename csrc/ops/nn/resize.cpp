// SPDX-License-Identifier: Apache-2.0
// Resizing is separable: per axis a repetition or a gather (nearest), else a product with a
// constant matrix of weights. Their gradients are the transposes.
#include <algorithm>
#include <cmath>
#include <string>

#include "ops/common/build.h"
#include "ops/common/via_float32.h"
#include "ops/common/window.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

enum Attribute { kSize, kMethod };
enum class Method { kNearest, kBilinear, kBicubic };
constexpr InputDef kInputs[] = {{"x"}};
constexpr AttrDef kAttrs[] = {{"size", AttrType::kInts},
                              {"method", AttrType::kString, "\"bilinear\""}};

using Ints = std::vector<int64_t>;

bool ParseMethod(const std::string& name, Method* method) {
  static constexpr std::string_view kNames[] = {"nearest", "bilinear", "bicubic"};
  const auto* const at = std::find(std::begin(kNames), std::end(kNames), name);
  *method = static_cast<Method>(at - std::begin(kNames));
  return at != std::end(kNames);
}

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
  Method method;
  if (!ParseMethod(c.attr<std::string>(kMethod), &method)) {
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

// The weight of an element at distance t: a triangle, or Keys' cubic with a = -1/2.
double Weight(Method method, double t) {
  t = std::abs(t);
  if (method == Method::kBilinear) return std::max(0.0, 1 - t);
  if (t <= 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

// [to, from]: what lies outside does not count, so every row is divided by its sum.
Tensor Weights(Method method, DType dtype, int64_t from, int64_t to) {
  Tensor out = Tensor::Zeros(dtype, {to, from});
  const int64_t reach = method == Method::kBilinear ? 1 : 2;
  for (int64_t i = 0; i < to; ++i) {
    const double at =
        (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    const int64_t middle = static_cast<int64_t>(std::floor(at));
    const int64_t first = std::max<int64_t>(0, middle - reach + 1);
    const int64_t last = std::min(from - 1, middle + reach);
    double sum = 0;
    for (int64_t j = first; j <= last; ++j) sum += Weight(method, at - static_cast<double>(j));
    for (int64_t j = first; j <= last; ++j) {
      const double w = Weight(method, at - static_cast<double>(j)) / sum;
      if (dtype == DType::kFloat32) {
        out.data<float>()[i * from + j] = static_cast<float>(w);
      } else {
        out.data<double>()[i * from + j] = w;
      }
    }
  }
  return out;
}

// Every element `times` times along the axis.
Value Repeat(Builder& b, Value x, int axis, int64_t times) {
  Shape shape = b.shape(x);
  Shape one = shape, many = shape;
  one.Insert(axis + 1, 1);
  many.Insert(axis + 1, times);
  shape[axis] = shape[axis] * Dim(times);
  return Reshape(b, BroadcastTo(b, Reshape(b, x, one), many), shape);
}

Value Nearest(Builder& b, Value x, int axis, int64_t from, int64_t to) {
  if (to % from == 0) return Repeat(b, x, axis, to / from);
  const Tensor indices = Tensor::Empty(DType::kInt64, {to});
  for (int64_t i = 0; i < to; ++i) {
    indices.data<int64_t>()[i] = std::min(from - 1, (2 * i + 1) * from / (2 * to));
  }
  return b(kGather, {x, b(kConstant, {}, {indices})}, {int64_t{axis}});
}

Value Interpolate(Builder& b, Value x, int axis, Method method, int64_t to) {
  Shape shape = b.shape(x);
  Dim before = 1, after = 1;
  for (int i = 0; i < axis; ++i) before = before * shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) after = after * shape[i];
  const Value weights = b(kConstant, {}, {Weights(method, b.dtype(x), shape[axis].value(), to)});
  const Value y = b(kMatmul, {weights, Reshape(b, x, {before, shape[axis], after})});
  shape[axis] = to;
  return Reshape(b, y, shape);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  Method method;
  ParseMethod(std::get<std::string>(attrs[kMethod]), &method);
  if (method != Method::kNearest && HasHalf(b, in)) return ViaFloat32(b, kResize, in, attrs);
  const Ints& size = std::get<Ints>(attrs[kSize]);
  Value x = in[0];
  for (int i = 0; i < static_cast<int>(size.size()); ++i) {
    const int64_t from = b.shape(x)[i + 1].value(), to = size[static_cast<size_t>(i)];
    if (from == to) continue;
    x = method == Method::kNearest ? Nearest(b, x, i + 1, from, to)
                                   : Interpolate(b, x, i + 1, method, to);
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
