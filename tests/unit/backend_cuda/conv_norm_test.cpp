// SPDX-License-Identifier: Apache-2.0
// Convolutions with batch normalisation at their ends, as the stand-in for cuDNN runs their graphs,
// beside the CPU's decompositions; and what has no engine.
#include <algorithm>

#include "backend/backend.h"
#include "backend_cuda/evaluate.h"
#include "ir/graph.h"
#include "ops/ops.h"

namespace ostria {

Backend* CudaBackend();

namespace {

using Ints = std::vector<int64_t>;
constexpr DType kHalf = DType::kFloat16;

struct Case {
  Shape image, kernel, result;
  Ints strides, padding;

  std::vector<Attr> Attrs(const Shape& size = {}) const {
    std::vector<Attr> out = {strides, padding, Ints(strides.size(), 1), int64_t{1}};
    if (size.rank() > 0) out.push_back(Shape(size.dims().subspan(1, strides.size())));
    return out;
  }
  Tensor Channels(int side, double low, double high, uint64_t seed, DType dtype) const {
    const Shape& s = side == 0 ? image : result;
    return RandomTensor(dtype, {s[s.rank() - 1]}, low, high, seed);
  }
};
const Case kCases[] = {
    {{2, 5, 7, 8}, {16, 1, 1, 8}, {2, 5, 7, 16}, {1, 1}, {0, 0, 0, 0}},
    {{2, 5, 7, 8}, {8, 3, 3, 8}, {2, 3, 4, 8}, {2, 2}, {1, 1, 1, 1}},
    {{1, 3, 4, 5, 8}, {8, 1, 3, 3, 8}, {1, 3, 4, 5, 8}, {1, 1, 1}, {0, 0, 1, 1, 1, 1}},
};

void ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs, const std::vector<Tensor>& in) {
  const auto got = EvaluateOnCuda(op, attrs, in, "cudnn"), want = EvaluateOnCpu(op, attrs, in);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(StrCat(op.name, " output ", i));
    ExpectClose(got[i], want[i], 1e-2);
  }
}

TEST(CudaConvNorm, IsTheCpus) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(StrCat(c.image, " ", c.kernel));
    const Tensor x = RandomTensor(kHalf, c.image, -1, 1, 1),
                 w = RandomTensor(kHalf, c.kernel, -0.5, 0.5, 2),
                 g = RandomTensor(kHalf, c.result, -0.5, 0.5, 3);
    const Tensor factor = c.Channels(0, 0.5, 2, 4, kHalf), shift = c.Channels(0, -1, 1, 5, kHalf);
    ExpectTheCpus(ops::kConvStats, c.Attrs(), {x, w});
    ExpectTheCpus(ops::kConvStats, c.Attrs(), {x, w, factor, shift});
    ExpectTheCpus(ops::kConvGradFilterNorm, c.Attrs(c.kernel), {x, factor, shift, g});
    std::vector<Tensor> in = {g, w, x};
    for (uint64_t i = 0; i < 4; ++i) {
      in.push_back(c.Channels(0, i == 3 ? 0.5 : -1, i == 3 ? 2 : 1, 6 + i, DType::kFloat32));
    }
    ExpectTheCpus(ops::kConvGradInputNorm, c.Attrs(c.image), in);
  }
}

bool IsTaken(const std::vector<Attr>& attrs, DType dtype, const Shape& image, const Shape& kernel) {
  const std::vector<ValueType> types = {{dtype, image}, {dtype, kernel}};
  std::vector<ValueType> results;
  InferTypes(ops::kConvStats, types, attrs, &results);
  std::vector<MemDesc> in, out;
  for (const ValueType& t : types) in.push_back(MemDesc::Dense(t.dtype, t.shape));
  for (const ValueType& t : results) out.push_back(MemDesc::Dense(t.dtype, t.shape));
  const DeviceProps device = Sm90();
  const NodeDesc node{&ops::kConvStats, attrs, in, out, &device};
  const auto kernels = CudaBackend()->Kernels();
  return std::any_of(kernels.begin(), kernels.end(), [&](const KernelDef& k) {
    return k.op == &ops::kConvStats && k.supports(node).ok;
  });
}

TEST(CudaConvNorm, WhatHasNoEngineIsRefused) {
  const Case& c = kCases[1];
  const auto attrs = c.Attrs();
  EXPECT_TRUE(IsTaken(attrs, kHalf, c.image, c.kernel));
  for (const DType dtype : {DType::kBFloat16, DType::kFloat32, DType::kFloat64}) {
    EXPECT_FALSE(IsTaken(attrs, dtype, c.image, c.kernel)) << Name(dtype);
  }
  const auto with = [&](size_t i, const Attr& attr) {
    auto changed = attrs;
    changed[i] = attr;
    return changed;
  };
  EXPECT_FALSE(IsTaken(with(1, Ints{0, 1, 1, 1}), kHalf, c.image, c.kernel));
  EXPECT_FALSE(IsTaken(with(2, Ints{2, 2}), kHalf, c.image, c.kernel));
  EXPECT_FALSE(IsTaken(with(3, int64_t{2}), kHalf, c.image, {8, 3, 3, 4}));
  EXPECT_FALSE(IsTaken({Ints{1}, Ints{0, 0}, Ints{1}, int64_t{1}}, kHalf, {2, 5, 8}, {8, 3, 8}));
}

}  // namespace
}  // namespace ostria
