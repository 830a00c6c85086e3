// SPDX-License-Identifier: Apache-2.0
// Ops on the CPU, end to end through eager plans of one node: what adapters pass on (attributes,
// strides, offsets, constants) and what they refuse. Values are compared in full by tests/ops.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"
#include "runtime/eager.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;
using Floats = std::vector<double>;
constexpr int64_t kOpen = std::numeric_limits<int64_t>::max();
constexpr int64_t kOpenLow = std::numeric_limits<int64_t>::min();

template <class T>
Tensor Of(DType dtype, const Shape& shape, const std::vector<T>& values) {
  Tensor t = Tensor::Empty(dtype, shape);
  EXPECT_EQ(t.numel(), static_cast<int64_t>(values.size()));
  std::copy(values.begin(), values.end(), t.data<T>());
  return t;
}
Tensor F32(const Shape& shape, const std::vector<float>& values) {
  return Of<float>(DType::kFloat32, shape, values);
}
Tensor I32(const Shape& shape, const std::vector<int32_t>& values) {
  return Of<int32_t>(DType::kInt32, shape, values);
}

Tensor Eager(const OpDef& op, const std::vector<Tensor>& inputs, std::vector<Attr> attrs = {}) {
  while (attrs.size() < op.attrs.size()) {
    attrs.push_back(DefaultAttr(op, static_cast<int>(attrs.size())));
  }
  std::vector<Tensor> out;
  RunEager(op, inputs, attrs, &out);
  return out.at(0);
}

Floats Numbers(const Tensor& t) {
  Floats out;
  DispatchDType(t.dtype(), [&]<class T>(T*) {
    for (int64_t i = 0; i < t.numel(); ++i) {
      if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
        out.push_back(static_cast<float>(t.data<T>()[i]));
      } else {
        out.push_back(static_cast<double>(t.data<T>()[i]));
      }
    }
  });
  return out;
}

const Tensor k23 = F32({2, 3}, {1, 2, 3, 4, 5, 6});

TEST(CpuKernels, Elementwise) {
  EXPECT_EQ(Numbers(Eager(ops::kAdd, {k23, F32({2, 1}, {10, 20})})),
            (Floats{11, 12, 13, 24, 25, 26}));
  EXPECT_EQ(Numbers(Eager(ops::kClip, {k23}, {2.0, 4.5})), (Floats{2, 2, 3, 4, 4.5, 4.5}));
  EXPECT_EQ(Numbers(Eager(ops::kClip, {I32({3}, {-5, 0, 5})}, {-1.0})), (Floats{-1, 0, 5}));
  EXPECT_EQ(Numbers(Eager(ops::kLeakyRelu, {F32({2}, {-2, 2})}, {0.5})), (Floats{-1, 2}));
  const Tensor one = F32({1}, {1});
  EXPECT_NEAR(Numbers(Eager(ops::kGelu, {one}))[0], 0.8413447, 1e-6);
  EXPECT_NEAR(Numbers(Eager(ops::kGelu, {one}, {true}))[0], 0.8411920, 1e-6);
  const Tensor less = Eager(ops::kLess, {k23, F32({}, {3})});
  EXPECT_EQ(less.dtype(), DType::kBool);
  EXPECT_EQ(Numbers(Eager(ops::kWhere, {less, k23, F32({1, 3}, {7, 8, 9})})),
            (Floats{1, 2, 9, 7, 8, 9}));
  EXPECT_EQ(Numbers(Eager(ops::kCast, {F32({3}, {-1.5, 2.5, 300})}, {DType::kInt8})),
            (Floats{-1, 2, 127}));
}

// The functors of the gradients against the ops' own decompositions, from both tails to the middle.
TEST(CpuKernels, GradientFunctorsEqualTheirDecompositions) {
  const std::vector<float> points = {-1e30f, -40, -6, -1.5, -0.1f, 0, 0.2f, 1, 5, 40, 1e30f};
  const int64_t n = static_cast<int64_t>(points.size());
  const Tensor x = F32({n}, points), g = Eager(ops::kFull, {}, {Shape{n}, DType::kFloat32, 2.0});
  struct Case {
    const OpDef& op;
    Tensor y;
    std::vector<Attr> attrs;
  };
  const Case cases[] = {{ops::kTanhGrad, Eager(ops::kTanh, {x}), {}},
                        {ops::kSigmoidGrad, Eager(ops::kSigmoid, {x}), {}},
                        {ops::kReluGrad, Eager(ops::kRelu, {x}), {}},
                        {ops::kGeluGrad, x, {false}},
                        {ops::kGeluGrad, x, {true}}};
  for (const Case& c : cases) {
    const Floats got = Numbers(Eager(c.op, {g, c.y}, c.attrs));
    Graph graph;
    const ValueType type{DType::kFloat32, Shape{n}};
    const Value in[] = {graph.AddInput("g", type, 0), graph.AddInput("x", type, 0)};
    Builder b(graph, 0);
    graph.AddOutput("y", c.op.decompose(b, {in, 2}, c.attrs)[0]);
    CompiledGraph compiled(std::move(graph), {});
    std::vector<Tensor> want;
    compiled.Run(std::vector<Tensor>{g, c.y}, &want);
    const Floats wanted = Numbers(want[0]);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_TRUE(std::isfinite(got[i])) << c.op.name << " at " << points[i];
      // The decompositions may overflow where the functors do not.
      if (std::isfinite(wanted[i])) {
        EXPECT_NEAR(got[i], wanted[i], 1e-5) << c.op.name << " at " << points[i];
      }
    }
  }
}

TEST(CpuKernels, Reductions) {
  EXPECT_EQ(Numbers(Eager(ops::kSum, {k23}, {Ints{0}})), (Floats{5, 7, 9}));
  EXPECT_EQ(Numbers(Eager(ops::kMean, {k23}, {Ints{-1}, true})), (Floats{2, 5}));
  EXPECT_EQ(Numbers(Eager(ops::kProd, {k23})), (Floats{720}));
  EXPECT_EQ(Numbers(Eager(ops::kSum, {Of<int8_t>(DType::kInt8, {2}, {100, 100})})), (Floats{200}));
  EXPECT_EQ(Numbers(Eager(ops::kAny, {F32({2, 2}, {0, 0.5, 0, 0})}, {Ints{1}})), (Floats{1, 0}));
  EXPECT_EQ(Numbers(Eager(ops::kArgmax, {k23}, {Ints{0}})), (Floats{1, 1, 1}));
  EXPECT_EQ(Numbers(Eager(ops::kArgmin, {k23})), (Floats{0}));
  const float inf = std::numeric_limits<float>::infinity();
  const Floats lse =
      Numbers(Eager(ops::kLogsumexp, {F32({2, 2}, {1000, 1000, -inf, -inf})}, {Ints{1}}));
  EXPECT_NEAR(lse[0], 1000.693147, 1e-3);
  EXPECT_EQ(lse[1], -inf);
  const Tensor none = Tensor::Zeros(DType::kFloat32, {0, 2});
  EXPECT_EQ(Numbers(Eager(ops::kMean, {none}, {Ints{0}})), (Floats{0, 0}));
  EXPECT_EQ(Numbers(Eager(ops::kMax, {none}, {Ints{0}})), (Floats{-inf, -inf}));
  EXPECT_EQ(Numbers(Eager(ops::kAll, {none}, {Ints{0}})), (Floats{1, 1}));
  EXPECT_EQ(Eager(ops::kSum, {none}, {Ints{1}}).shape(), (Shape{0}));
}

TEST(CpuKernels, Shapes) {
  EXPECT_EQ(Numbers(Eager(ops::kTranspose, {k23})), (Floats{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(Numbers(Eager(ops::kBroadcastTo, {F32({2, 1}, {1, 2})}, {Shape{2, 2, 2}})),
            (Floats{1, 1, 2, 2, 1, 1, 2, 2}));
  EXPECT_EQ(
      Numbers(Eager(ops::kSlice, {k23}, {Ints{1, kOpen}, Ints{kOpen, kOpenLow}, Ints{1, -2}})),
      (Floats{6, 4}));
  EXPECT_EQ(Numbers(Eager(ops::kSliceGrad, {F32({1, 2}, {6, 4})},
                          {Shape{2, 3}, Ints{1, kOpen}, Ints{kOpen, kOpenLow}, Ints{1, -2}})),
            (Floats{0, 0, 0, 4, 0, 6}));
  EXPECT_EQ(Numbers(Eager(ops::kSliceAt, {k23}, {int64_t{1}, Shape{1}, Shape{2}})),
            (Floats{2, 3, 5, 6}));
  EXPECT_EQ(Numbers(Eager(ops::kFlip, {k23}, {Ints{-1}})), (Floats{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(Numbers(Eager(ops::kPad, {F32({1, 2}, {1, 2})}, {Ints{1, 0}, Ints{0, 1}, 9.0})),
            (Floats{9, 9, 9, 1, 2, 9}));
  const Tensor none = Tensor::Zeros(DType::kFloat32, {0, 3});
  EXPECT_EQ(Numbers(Eager(ops::kConcat, {k23, none, k23}, {int64_t{0}})),
            (Floats{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(Numbers(Eager(ops::kConcat, {k23, F32({2, 1}, {8, 9})}, {int64_t{-1}})),
            (Floats{1, 2, 3, 8, 4, 5, 6, 9}));
}

TEST(CpuKernels, Sources) {
  EXPECT_EQ(Numbers(Eager(ops::kFull, {}, {Shape{2}, DType::kBFloat16, 2.5})), (Floats{2.5, 2.5}));
  const Floats counted = Numbers(Eager(ops::kIota, {}, {Shape{1000}, DType::kFloat16}));
  Floats want(1000);
  std::iota(want.begin(), want.end(), 0.0);
  EXPECT_EQ(counted, want);
  EXPECT_EQ(Numbers(Eager(ops::kDimProduct, {}, {Shape{3, 4}, DType::kInt32})), (Floats{12}));
}

TEST(CpuKernels, Data) {
  EXPECT_EQ(Numbers(Eager(ops::kGather, {k23, I32({2}, {-1, 0})}, {int64_t{1}})),
            (Floats{3, 1, 6, 4}));
  EXPECT_EQ(Numbers(Eager(ops::kGather, {k23, I32({1}, {1})})), (Floats{4, 5, 6}));
  EXPECT_EQ(
      Numbers(Eager(ops::kScatterAdd, {k23, I32({3}, {0, 0, -1}), F32({2, 3}, {1, 2, 3, 4, 5, 6})},
                    {int64_t{1}})),
      (Floats{4, 2, 6, 13, 5, 12}));
  EXPECT_EQ(Numbers(Eager(ops::kOneHot, {I32({3}, {2, -1, 3})}, {int64_t{3}})),
            (Floats{0, 0, 1, 0, 0, 0, 0, 0, 0}));
  try {
    Eager(ops::kGather, {k23, I32({2}, {0, 2})});
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kIndexError);
    EXPECT_STREQ(e.what(),
                 "gather: index 2 (number 1 of 2) is out of range for an axis of size 2; valid "
                 "indices are -2..1");
  }
  EXPECT_THROW(Eager(ops::kScatterAdd, {k23, I32({1}, {-3}), F32({1, 3}, {1, 2, 3})}), Error);
}

}  // namespace
}  // namespace ostria
