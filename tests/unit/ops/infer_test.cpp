// SPDX-License-Identifier: Apache-2.0
// What a user reads when an op is called with something it cannot take, word for word, and the
// types that come out when it can.
#include <gtest/gtest.h>

#include <limits>

#include "ir/graph.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;
constexpr int64_t kOpen = std::numeric_limits<int64_t>::max();
constexpr int64_t kOpenLow = std::numeric_limits<int64_t>::min();

Dim Batch() { return Dim::Symbol("batch"); }
ValueType F32(Shape shape) { return {DType::kFloat32, shape}; }
ValueType I32(Shape shape) { return {DType::kInt32, shape}; }

std::vector<ValueType> Types(const OpDef& op, const std::vector<ValueType>& inputs,
                             std::vector<Attr> attrs) {
  while (attrs.size() < op.attrs.size()) {
    attrs.push_back(DefaultAttr(op, static_cast<int>(attrs.size())));
  }
  std::vector<ValueType> out;
  InferTypes(op, inputs, attrs, &out);
  return out;
}

struct Mistake {
  const OpDef& op;
  std::vector<ValueType> inputs;
  std::vector<Attr> attrs;
  ErrorCode code;
  std::string message;
};

TEST(Infer, MistakesAreExplained) {
  constexpr ErrorCode kValue = ErrorCode::kInvalidArgument, kType = ErrorCode::kTypeError;
  const Mistake mistakes[] = {
      {ops::kAdd,
       {F32({2}), I32({2})},
       {},
       kType,
       "add: Tensor conversion requested dtype float32 for Tensor with dtype int32: 'x' is "
       "float32[2] and 'y' is int32[2]; they must have one dtype, so cast one of them, as in "
       "cast(y, \"float32\")"},
      {ops::kAdd,
       {F32({2, 3}), F32({4})},
       {},
       kValue,
       "add: shapes [2, 3] and [4] do not broadcast: at axis -1 one has 3 and the other 4; from "
       "the right, sizes must be equal or one of them 1; expand or reshape one of them"},
      {ops::kAdd,
       {F32({Batch(), 3}), F32({5, 3})},
       {},
       kValue,
       "add: shapes [batch, 3] and [5, 3] do not broadcast: at axis -2 one has batch and the other "
       "5; a symbolic dimension only fits itself or 1; expand or reshape one of them"},
      {ops::kAdd, {F32({2})}, {}, kType, "add: takes 2 input(s) (x, y), but 1 were given"},
      {ops::kDivide,
       {I32({2}), I32({2})},
       {},
       kType,
       "divide: needs a tensor of floating-point dtype, but 'x' is int32[2]; cast it first, as in "
       "cast(x, \"float32\")"},
      {ops::kTanh,
       {I32({2, 3})},
       {},
       kType,
       "tanh: needs a tensor of floating-point dtype, but 'x' is int32[2, 3]; cast it first, as in "
       "cast(x, \"float32\")"},
      {ops::kBitwiseAnd,
       {F32({2}), F32({2})},
       {},
       kType,
       "bitwise_and: needs a tensor of integer or bool dtype, but 'x' is float32[2]; cast it "
       "first, as in cast(x, \"int32\")"},
      {ops::kAbs,
       {{DType::kBool, {2}}},
       {},
       kType,
       "abs: needs a tensor of floating-point or integer dtype, but 'x' is bool[2]; cast it first, "
       "as in cast(x, \"float32\")"},
      {ops::kWhere,
       {F32({2}), F32({2}), F32({2})},
       {},
       kType,
       "where: needs a tensor of bool dtype, but 'condition' is float32[2]; cast it first, as in "
       "cast(condition, \"bool\")"},
      {ops::kWhere,
       {{DType::kBool, {2}}, F32({2}), I32({2})},
       {},
       kType,
       "where: Tensor conversion requested dtype float32 for Tensor with dtype int32: 'x' is "
       "float32[2] and 'y' is int32[2]; they must have one dtype, so cast one of them, as in "
       "cast(y, \"float32\")"},
      {ops::kClip,
       {F32({2})},
       {1.0, 0.0},
       kValue,
       "clip: the limits min=1 and max=0 leave no value between them; give min <= max, and neither "
       "as NaN"},
      {ops::kClip,
       {{DType::kBool, {2}}},
       {},
       kType,
       "clip: needs a tensor of floating-point or integer dtype, but 'x' is bool[2]; cast it "
       "first, as in cast(x, \"float32\")"},
      {ops::kLeakyRelu,
       {F32({2})},
       {int64_t{1}},
       kType,
       "leaky_relu: attribute 'negative_slope' must be float, but 1 was given"},
      {ops::kCast, {F32({2})}, {}, kType, "cast: attribute 'dtype' (dtype) is missing"},
      {ops::kSum,
       {F32({8, 10})},
       {Ints{5}},
       kValue,
       "sum: axis 5 is out of range for a tensor of rank 2 (shape [8, 10]); valid axes are -2..1"},
      {ops::kSum,
       {F32({})},
       {Ints{0}},
       kValue,
       "sum: axis 0 is out of range: a tensor of rank 0 has no axes"},
      {ops::kSum,
       {F32({8, 10})},
       {Ints{1, -1}},
       kValue,
       "sum: axis 1 is given twice in (1, -1) for a tensor of rank 2; name each axis once"},
      {ops::kMean,
       {I32({3})},
       {},
       kType,
       "mean: needs a tensor of floating-point dtype, but 'x' is int32[3]; cast it first, as in "
       "cast(x, \"float32\")"},
      {ops::kMax,
       {I32({0, 3})},
       {Ints{0}},
       kValue,
       "max: no elements to reduce in int32[0, 3], and int32 has no infinity to return; give at "
       "least one element, or cast to a float"},
      {ops::kArgmax,
       {F32({2, 0})},
       {},
       kValue,
       "argmax: no elements to choose from in float32[2, 0]; give at least one along the axis"},
      {ops::kArgmax,
       {F32({2, 3})},
       {Ints{0, 1}},
       kValue,
       "argmax: takes one axis, or none for the flattened tensor, but (0, 1) was given; reshape x "
       "so that these axes are one"},
      {ops::kLogsumexp,
       {{DType::kBool, {3}}},
       {},
       kType,
       "logsumexp: needs a tensor of floating-point dtype, but 'x' is bool[3]; cast it first, as "
       "in cast(x, \"float32\")"},
      {ops::kReshape,
       {F32({8, 10})},
       {Shape{4, 10}},
       kValue,
       "reshape: a tensor of shape [8, 10] (80 elements) cannot become [4, 10] (40 elements); the "
       "numbers of elements must be equal, and -1 in one place is worked out from the others"},
      {ops::kReshape,
       {F32({Batch(), 4})},
       {Shape{32}},
       kValue,
       "reshape: a tensor of shape [batch, 4] has as many elements as [32] only for some sizes; "
       "write the new shape with the symbols of the old one, as in reshape(x, (x.shape[0], -1))"},
      {ops::kTranspose,
       {F32({2, 3})},
       {Ints{0, 0}},
       kValue,
       "transpose: axis 0 is given twice in (0, 0) for a tensor of rank 2; name each axis once"},
      {ops::kTranspose,
       {F32({2, 3})},
       {Ints{1}},
       kValue,
       "transpose: axes (1) name 1 of the 2 axes of a tensor of shape [2, 3]; name each axis once"},
      {ops::kBroadcastTo,
       {F32({3})},
       {Shape{2, 4}},
       kValue,
       "broadcast_to: a tensor of shape [3] cannot be broadcast to [2, 4]; from the right, each of "
       "its sizes must be 1 or equal to the new one"},
      {ops::kExpandDims,
       {F32({3})},
       {Ints{3}},
       kValue,
       "expand_dims: axis 3 is out of range for a result of rank 2 (from shape [3]); valid axes "
       "are -2..1"},
      {ops::kExpandDims,
       {F32({3})},
       {Ints{0, 0}},
       kValue,
       "expand_dims: axis 0 is given twice in (0, 0); name each new axis once"},
      {ops::kSqueeze,
       {F32({2, 3})},
       {Ints{1}},
       kValue,
       "squeeze: axis 1 of shape [2, 3] has size 3; only axes of size 1 can be removed; use "
       "reshape, or reduce the axis"},
      {ops::kConcat, {}, {}, kValue, "concat: needs at least one tensor, but none was given"},
      {ops::kConcat,
       {F32({}), F32({})},
       {},
       kValue,
       "concat: a tensor of rank 0 has no axis to join along; expand_dims it first"},
      {ops::kConcat,
       {F32({2, 3}), I32({2, 3})},
       {},
       kType,
       "concat: Tensor conversion requested dtype float32 for Tensor with dtype int32: 'xs0' is "
       "float32[2, 3] and 'xs1' is int32[2, 3]; they must have one dtype, so cast one of them, as "
       "in cast(xs1, \"float32\")"},
      {ops::kConcat,
       {F32({2, 3}), F32({2, 4})},
       {},
       kValue,
       "concat: 'xs1' has shape [2, 4] and 'xs0' has shape [2, 3]; joined along axis 0, all other "
       "sizes must be equal"},
      {ops::kSlice,
       {F32({4})},
       {Ints{0}, Ints{4}, Ints{0}},
       kValue,
       "slice: the step along axis 0 is 0; it must be positive or negative"},
      {ops::kSlice,
       {F32({4})},
       {Ints{0, 0}, Ints{4}},
       kValue,
       "slice: start (0, 0), stop (4) and step () need one number for each axis of shape [4]"},
      {ops::kSlice,
       {F32({Batch()})},
       {Ints{-3}, Ints{kOpen}},
       kValue,
       "slice: the size of [-3:] along axis 0 of shape [batch] depends on how large batch is; on a "
       "symbolic dimension x[k:], x[:-k], x[::s] and x[::-1] are possible; use a fixed size, or "
       "gather"},
      {ops::kSlice,
       {F32({Batch()})},
       {Ints{0}, Ints{10}, Ints{2}},
       kValue,
       "slice: the size of [0:10:2] along axis 0 of shape [batch] depends on how large batch is; "
       "on a symbolic dimension x[k:], x[:-k], x[::s] and x[::-1] are possible; use a fixed size, "
       "or gather"},
      {ops::kPad,
       {F32({4})},
       {Ints{-1}, Ints{0}},
       kValue,
       "pad: low (-1) and high (0) must not be negative; use slice to take elements away"},
      {ops::kPad,
       {F32({4})},
       {Ints{1, 1}, Ints{0, 0}},
       kValue,
       "pad: low (1, 1) and high (0, 0) need one number for each axis of shape [4]"},
      {ops::kConv2d,
       {F32({1, 4, 4, 3}), F32({5, 3, 3, 3})},
       {Ints{1, 1}, Ints{0, 0, 0, 0}, Ints{int64_t{1} << 62, 1}},
       kValue,
       "a dimension overflows 64 bits: 4611686018427387904 * 3"},
      {ops::kMaxPool2d,
       {F32({1, 4, 4, 3})},
       {Ints{kOpen, kOpen}, Ints{1, 1}, Ints{kOpen - 1, kOpen - 1, 0, 0}},
       kValue,
       "a dimension overflows 64 bits: 4 + 9223372036854775806"},
      {ops::kFlip,
       {F32({4})},
       {Ints{1}},
       kValue,
       "flip: axis 1 is out of range for a tensor of rank 1 (shape [4]); valid axes are -1..0"},
      {ops::kGather,
       {F32({4}), F32({2})},
       {},
       kType,
       "gather: indices must be int32 or int64, but 'indices' is float32[2]; cast them first, as "
       "in cast(indices, \"int64\")"},
      {ops::kGather,
       {F32({0, 2}), I32({3})},
       {},
       kValue,
       "gather: axis 0 of shape [0, 2] has no elements to take, but 3 indices were given"},
      {ops::kScatterAdd,
       {F32({4, 2}), I32({3}), F32({3, 3})},
       {},
       kValue,
       "scatter_add: 'updates' has shape [3, 3], but x of shape [4, 2] and indices of shape [3] "
       "along axis 0 need updates of shape [3, 2]"},
      {ops::kOneHot,
       {F32({4})},
       {int64_t{10}},
       kType,
       "one_hot: indices must be int32 or int64, but 'indices' is float32[4]; cast them first, as "
       "in cast(indices, \"int64\")"},
      {ops::kOneHot,
       {I32({4})},
       {int64_t{-1}},
       kValue,
       "one_hot: depth is -1; it is the number of classes and must not be negative"},
      {ops::kIota,
       {},
       {Shape{2, 3}},
       kValue,
       "iota: length must be a shape of one dimension, but is [2, 3]; give one number"},
      {ops::kIota,
       {},
       {Shape{2}, DType::kBool},
       kType,
       "iota: numbers 0..n-1 do not fit bool; give an integer or floating-point dtype"},
  };
  for (const Mistake& m : mistakes) {
    try {
      Types(m.op, m.inputs, m.attrs);
      ADD_FAILURE() << m.op.name << " accepted what should give: " << m.message;
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()), m.message);
      EXPECT_EQ(e.code(), m.code) << m.message;
    }
  }
}

struct Fit {
  const OpDef& op;
  std::vector<ValueType> inputs;
  std::vector<Attr> attrs;
  std::string type;
};

TEST(Infer, TypesOfResults) {
  const Dim n = Batch();
  const Fit fits[] = {
      {ops::kAdd, {F32({n, 1, 3}), F32({4, 1})}, {}, "float32[batch, 4, 3]"},
      {ops::kAdd, {F32({}), F32({n})}, {}, "float32[batch]"},
      {ops::kLess, {I32({2}), I32({})}, {}, "bool[2]"},
      {ops::kWhere, {{DType::kBool, {n, 1}}, I32({5}), I32({})}, {}, "int32[batch, 5]"},
      {ops::kIsnan, {F32({2})}, {}, "bool[2]"},
      {ops::kCast, {F32({n})}, {DType::kBFloat16}, "bfloat16[batch]"},
      {ops::kClip, {I32({2})}, {0.0, 1.0}, "int32[2]"},
      {ops::kSum, {F32({n, 3})}, {}, "float32[]"},
      {ops::kSum, {{DType::kBool, {n, 3}}}, {Ints{-1}, true}, "int64[batch, 1]"},
      {ops::kSum, {{DType::kUInt8, {2}}}, {}, "uint64[]"},
      {ops::kMean, {F32({n, 3, 4})}, {Ints{0, -1}}, "float32[3]"},
      {ops::kMax, {F32({0, 3})}, {Ints{0}}, "float32[3]"},
      {ops::kMax, {I32({0, 0})}, {Ints{0}}, "int32[0]"},
      {ops::kAny, {F32({2})}, {}, "bool[]"},
      {ops::kArgmax, {F32({n, 3})}, {Ints{-1}, true}, "int64[batch, 1]"},
      {ops::kReshape, {F32({n, 4})}, {Shape{2 * n, 2}}, "float32[2*batch, 2]"},
      {ops::kTranspose, {F32({n, 4, 5})}, {}, "float32[5, 4, batch]"},
      {ops::kTranspose, {F32({n, 4, 5})}, {Ints{0, 2, -2}}, "float32[batch, 5, 4]"},
      {ops::kBroadcastTo, {F32({1, 4})}, {Shape{n, 2, 4}}, "float32[batch, 2, 4]"},
      {ops::kExpandDims, {F32({n})}, {Ints{0, -1}}, "float32[1, batch, 1]"},
      {ops::kSqueeze, {F32({1, n, 1})}, {Ints{-1}}, "float32[1, batch]"},
      {ops::kSqueeze, {F32({1, n, 1})}, {}, "float32[batch]"},
      {ops::kConcat,
       {F32({n, 2}), F32({3, 2}), F32({0, 2})},
       {int64_t{0}},
       "float32[batch + 3, 2]"},
      {ops::kSlice, {F32({n, 5})}, {Ints{1, -3}, Ints{-2, kOpen}}, "float32[batch - 3, 3]"},
      {ops::kSlice,
       {F32({n, 5})},
       {Ints{0, 9}, Ints{kOpen, 0}, Ints{2, -2}},
       "float32[floordiv(batch + 1, 2), 2]"},
      {ops::kSlice, {F32({n})}, {Ints{-1}, Ints{kOpenLow}, Ints{-1}}, "float32[batch]"},
      {ops::kPad, {F32({n, 2})}, {Ints{1, 0}, Ints{0, 2}}, "float32[batch + 1, 4]"},
      {ops::kGather, {F32({5, n}), I32({2, 3})}, {}, "float32[2, 3, batch]"},
      {ops::kGather, {F32({n, 5}), I32({})}, {int64_t{-1}}, "float32[batch]"},
      {ops::kScatterAdd, {F32({5, 2}), I32({n}), F32({n, 2})}, {}, "float32[5, 2]"},
      {ops::kOneHot, {I32({n})}, {int64_t{10}}, "float32[batch, 10]"},
      {ops::kIota, {}, {Shape{n}}, "int64[batch]"},
      {ops::kFull, {}, {Shape{n, 2}, DType::kInt8, 3.0}, "int8[batch, 2]"},
      {ops::kDimProduct, {}, {Shape{n, 2}, DType::kFloat32}, "float32[]"},
  };
  for (const Fit& f : fits) {
    try {
      const auto types = Types(f.op, f.inputs, f.attrs);
      ASSERT_EQ(types.size(), 1u);
      EXPECT_EQ(ToString(types[0]), f.type) << f.op.name;
    } catch (const Error& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

TEST(Infer, EveryOpSaysWhatItDoesAndHowItDifferentiates) {
  for (const OpDef* op : ops::AllOps()) {
    EXPECT_GT(op->doc.size(), 10u) << op->name;
    EXPECT_TRUE(op->grad.fn != nullptr || !op->grad.none_because.empty()) << op->name;
    EXPECT_NE(op->infer, nullptr) << op->name;
    for (const AttrDef& attr : op->attrs) {
      EXPECT_TRUE(op->traits.internal || op->doc.find(attr.name) != std::string_view::npos)
          << op->name << " does not describe its attribute " << attr.name;
      if (!attr.default_text.empty()) {
        const int i = static_cast<int>(&attr - op->attrs.data());
        EXPECT_EQ(TypeOf(DefaultAttr(*op, i)), attr.type) << op->name;
      }
    }
  }
}

}  // namespace
}  // namespace ostria
