// SPDX-License-Identifier: Apache-2.0
#include "ops/common/epilogue.h"

#include <vector>

#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria::ops {
namespace {

using A = Activation;
using In = EpilogueOperand;
using Out = EpilogueResult;

// In the order of Epilogue.
constexpr EpilogueDef kDefs[] = {
    {"none", A::kNone},
    {"relu", A::kRelu},
    {"tanh", A::kTanh},
    {"sigmoid", A::kSigmoid},
    {"gelu", A::kGelu},
    {"gelu_tanh", A::kGeluTanh},
    {"silu", A::kSilu},
    {"relu_mask", A::kRelu, In::kBias, Out::kMask},
    {"gelu_tanh_kept", A::kGeluTanh, In::kBias, Out::kPreactivation},
    {"relu_grad", A::kRelu, In::kMask},
    {"gelu_tanh_grad", A::kGeluTanh, In::kPreactivation},
    {"relu_grad_sum", A::kRelu, In::kMask, Out::kSumOfRows},
    {"gelu_tanh_grad_sum", A::kGeluTanh, In::kPreactivation, Out::kSumOfRows},
    {"sum_a", A::kNone, In::kNothing, Out::kSumOfA},
    {"sum_b", A::kNone, In::kNothing, Out::kSumOfB},
};
static_assert(std::size(kDefs) == static_cast<size_t>(Epilogue::kSumB) + 1);

Value BitValues(Builder& b) {
  Tensor bits = Tensor::Empty(DType::kUInt8, {8});
  for (int i = 0; i < 8; ++i) bits.data<uint8_t>()[i] = static_cast<uint8_t>(1 << i);
  return b(kConstant, {}, {bits});
}

}  // namespace

const EpilogueDef& DefOf(Epilogue epilogue) { return kDefs[static_cast<int>(epilogue)]; }

bool ParseEpilogue(std::string_view text, Epilogue* out) {
  for (size_t i = 0; i < std::size(kDefs); ++i) {
    if (kDefs[i].name == text) {
      *out = static_cast<Epilogue>(i);
      return true;
    }
  }
  return false;
}

Epilogue RequireEpilogue(const InferContext& c, int attr) {
  Epilogue epilogue;
  const std::string& text = c.attr<std::string>(attr);
  if (!ParseEpilogue(text, &epilogue)) {
    c.Fail("epilogue '", text, "' is unknown; it must be one of ",
           Join(kDefs, ", ", [](const EpilogueDef& def) { return def.name; }));
  }
  return epilogue;
}

Epilogue GradientOf(Activation activation) {
  return activation == A::kRelu       ? Epilogue::kReluGrad
         : activation == A::kGeluTanh ? Epilogue::kGeluTanhGrad
                                      : Epilogue::kNone;
}

Epilogue WithSum(Epilogue epilogue) {
  return epilogue == Epilogue::kReluGrad       ? Epilogue::kReluGradSum
         : epilogue == Epilogue::kGeluTanhGrad ? Epilogue::kGeluTanhGradSum
                                               : Epilogue::kNone;
}

Value PackMask(Builder& b, Value z) {
  Shape shape = b.shape(z);
  const int last = shape.rank() - 1;
  const int64_t n = shape[last].value(), bytes = MaskBytes(n);
  const Value positive = b(kGreater, {z, Scalar(b, b.dtype(z), 0.0)});
  std::vector<int64_t> low(static_cast<size_t>(shape.rank())), high = low;
  high.back() = 8 * bytes - n;
  const Value padded = b(kPad, {Cast(b, positive, DType::kUInt8)}, {low, high, 0.0});
  shape[last] = bytes;
  shape.Insert(shape.rank(), 8);
  const Value bits = b(kMultiply, {Reshape(b, padded, shape), BitValues(b)});
  const Value sum = b(kSum, {bits}, {std::vector<int64_t>{-1}, false});
  return Cast(b, sum, DType::kUInt8);
}

Value ApplyMask(Builder& b, Value g, Value mask) {
  const Shape shape = b.shape(g);
  const int last = shape.rank() - 1;
  Shape bytes = b.shape(mask), wide = bytes;
  bytes.Insert(bytes.rank(), 1);
  wide[last] = 8 * wide[last].value();
  const Value set = b(kBitwiseAnd, {Reshape(b, mask, bytes), BitValues(b)});
  const Value all = Reshape(b, b(kGreater, {set, Scalar(b, DType::kUInt8, 0.0)}), wide);
  const Value mine = b(kSliceAt, {all}, {int64_t{last}, Shape{0}, Shape{shape[last]}});
  return b(kWhere, {mine, g, Scalar(b, b.dtype(g), 0.0)});
}

}  // namespace ostria::ops
