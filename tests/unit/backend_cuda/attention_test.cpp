// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

struct Case {
  int64_t batch = 2, length_q = 37, length_kv = 37, heads = 2, kv_heads = 2, dim = 16, dim_v = 16;
  bool causal = false;
  double scale = 0, dropout = 0;
  enum Mask { kNone, kBool, kNumbers } mask = kNone;
  bool mask_per_head = false;
  DType lengths = DType::kFloat32;  // an integer type: there are lengths
  bool lse_grad = false;
};

double ToleranceOf(DType dtype) {
  return dtype == DType::kFloat32 ? 2e-5 : dtype == DType::kFloat16 ? 3e-3 : 2e-2;
}

void ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs,
                   const std::vector<Tensor>& inputs, DType dtype) {
  const std::vector<Tensor> want = EvaluateOnCpu(op, attrs, inputs);
  for (const int64_t skew : {0, 1}) {
    const Placement place{.impl = "tiles", .skew = skew};
    const std::vector<Tensor> got = EvaluateOnCuda(op, attrs, inputs, place);
    const std::vector<Tensor> again = EvaluateOnCuda(op, attrs, inputs, place);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      SCOPED_TRACE(StrCat(op.name, " of ", dtype, ", output ", i, ", skew ", skew));
      ExpectClose(got[i], want[i], ToleranceOf(dtype));
      ExpectClose(again[i], got[i], 0);  // in another order of threads
    }
  }
}

void ExpectBothPasses(const Case& c, DType dtype) {
  std::vector<Tensor> in = {
      RandomTensor(dtype, {c.batch, c.length_q, c.heads, c.dim}, -1, 1, 1),
      RandomTensor(dtype, {c.batch, c.length_kv, c.kv_heads, c.dim}, -1, 1, 2),
      RandomTensor(dtype, {c.batch, c.length_kv, c.kv_heads, c.dim_v}, -1, 1, 3)};
  if (c.mask != Case::kNone) {
    const Shape shape = {c.mask_per_head ? 1 : c.batch, c.mask_per_head ? c.heads : 1,
                         c.mask_per_head ? 1 : c.length_q, c.length_kv};
    in.push_back(c.mask == Case::kBool ? RandomTensor(DType::kBool, shape, 0, 2, 4)
                                       : RandomTensor(dtype, shape, -2, 2, 4));
  }
  if (IsInteger(c.lengths)) {
    Tensor lengths = RandomTensor(c.lengths, {c.batch}, 1, 9, 5);
    std::memset(lengths.raw(), 0, static_cast<size_t>(SizeOf(c.lengths)));  // one has no keys
    in.push_back(lengths);
  }
  if (c.dropout > 0) {
    Tensor key = Tensor::Empty(DType::kInt64, {2});
    key.data<int64_t>()[0] = 77;
    key.data<int64_t>()[1] = 5;
    in.push_back(key);
    in.push_back(Tensor::Scalar(DType::kInt64, 3));
  }
  std::vector<Attr> attrs = {
      c.causal, c.scale, c.dropout, int64_t{4}, c.mask != Case::kNone, IsInteger(c.lengths)};
  ExpectTheCpus(ops::kAttention, attrs, in, dtype);

  const std::vector<Tensor> y = EvaluateOnCpu(ops::kAttention, attrs, in);
  std::vector<Tensor> grad = {RandomTensor(dtype, y[0].shape(), -1, 1, 6), y[0], y[1]};
  grad.insert(grad.end(), in.begin(), in.end());
  if (c.lse_grad) grad.push_back(RandomTensor(y[1].dtype(), y[1].shape(), -1, 1, 7));
  attrs.push_back(c.lse_grad);
  ExpectTheCpus(ops::kAttentionGrad, attrs, grad, dtype);
}

TEST(CudaAttention, IsTheCpusInEveryDType) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    ExpectBothPasses({}, dtype);
    ExpectBothPasses({.causal = true, .scale = 0.3, .dropout = 0.25}, dtype);
    ExpectBothPasses({.length_q = 5, .mask = Case::kNumbers, .lse_grad = true}, dtype);
  }
}

// Lengths that fill no block, one query, heads that share keys, heads of odd and of other sizes.
TEST(CudaAttention, TakesEveryShape) {
  ExpectBothPasses(
      {.batch = 1, .length_q = 1, .length_kv = 1, .heads = 1, .kv_heads = 1, .dim = 1, .dim_v = 1},
      DType::kFloat32);
  ExpectBothPasses({.length_q = 20,
                    .length_kv = 67,
                    .heads = 6,
                    .kv_heads = 2,
                    .dim = 7,
                    .dim_v = 33,
                    .causal = true},
                   DType::kFloat32);
  ExpectBothPasses(
      {.batch = 1, .length_q = 66, .length_kv = 18, .dim = 130, .dim_v = 40, .causal = true},
      DType::kFloat32);
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    ExpectBothPasses({.batch = 1,
                      .length_q = 3,
                      .length_kv = 35,
                      .heads = 1,
                      .kv_heads = 1,
                      .dim = 256,
                      .dim_v = 256},
                     dtype);
  }
}

// Masks of both kinds, lengths of both widths with a sequence that has none: rows without keys.
TEST(CudaAttention, MasksAsTheCpu) {
  for (const bool per_head : {false, true}) {
    for (const Case::Mask mask : {Case::kBool, Case::kNumbers}) {
      ExpectBothPasses({.batch = 3, .length_q = 18, .mask = mask, .mask_per_head = per_head},
                       DType::kFloat32);
    }
  }
  for (const DType lengths : {DType::kInt32, DType::kInt64}) {
    ExpectBothPasses({.batch = 3,
                      .causal = true,
                      .dropout = 0.5,
                      .mask = Case::kBool,
                      .lengths = lengths,
                      .lse_grad = true},
                     DType::kFloat32);
  }
}

}  // namespace
}  // namespace ostria
