// SPDX-License-Identifier: Apache-2.0
// The graphs that attention becomes, run by the loops of the fake cuDNN beside the CPU.
#include <array>

#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

struct Attention {
  int64_t batch, length_q, length_kv, heads, kv_heads, dim, dim_v;
  bool causal;
  double scale, dropout = 0;
};
constexpr Attention kAttentions[] = {{2, 7, 7, 4, 4, 8, 8, true, 0},
                                     {2, 7, 9, 4, 2, 8, 16, true, 0.3},
                                     {3, 9, 5, 6, 2, 8, 8, false, 0},
                                     {1, 1, 1, 1, 1, 8, 8, true, 0}};

void ExpectTheCpus(const Attention& a, DType dtype, const Placement& placement) {
  SCOPED_TRACE(StrCat(dtype, ", ", a.length_q, " by ", a.length_kv, ", dropout ", a.dropout));
  const auto random = [&](int64_t length, int64_t heads, int64_t dim, uint64_t seed) {
    return RandomTensor(dtype, {a.batch, length, heads, dim}, -1, 1, seed);
  };
  std::vector<Tensor> in = {random(a.length_q, a.heads, a.dim, 1),
                            random(a.length_kv, a.kv_heads, a.dim, 2),
                            random(a.length_kv, a.kv_heads, a.dim_v, 3)};
  if (a.dropout != 0) {
    Tensor key = Tensor::Empty(DType::kInt64, {2});
    key.data<int64_t>()[0] = 77;
    key.data<int64_t>()[1] = 5;
    in.push_back(key);
    in.push_back(Tensor::Scalar(DType::kInt64, 3));  // the first sequence's number
  }
  std::vector<Attr> attrs = {a.causal, a.scale, a.dropout, int64_t{4}, false, false};
  const double tolerance = dtype == DType::kFloat16 ? 3e-3 : 2e-2;
  const auto want = EvaluateOnCpu(ops::kAttention, attrs, in);
  const auto got = EvaluateOnCuda(ops::kAttention, attrs, in, placement);
  for (size_t i = 0; i < 2; ++i) ExpectClose(got[i], want[i], tolerance);
  attrs.push_back(false);
  std::vector<Tensor> inputs = {random(a.length_q, a.heads, a.dim_v, 4), want[0], want[1]};
  inputs.insert(inputs.end(), in.begin(), in.end());
  const auto want_grads = EvaluateOnCpu(ops::kAttentionGrad, attrs, inputs);
  const auto grads = EvaluateOnCuda(ops::kAttentionGrad, attrs, inputs, placement);
  for (size_t i = 0; i < 3; ++i) ExpectClose(grads[i], want_grads[i], tolerance);
}

TEST(CudaAttention, ByCudnnIsTheCpus) {
  for (const Attention& a : kAttentions) {
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      ExpectTheCpus(a, dtype, {.impl = "cudnn"});
    }
  }
}

// A kernel of ours draws the mask: more than one block of it in the last case.
TEST(CudaAttention, ByCudnnDropsWhatTheCpuDrops) {
  constexpr Attention kDropping[] = {{2, 7, 8, 4, 4, 8, 8, true, 0, 0.25},
                                     {1, 1, 16, 2, 2, 8, 16, false, 0.3, 0.5},
                                     {3, 16, 24, 6, 2, 16, 16, true, 0, 0.1}};
  for (const Attention& a : kDropping) {
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      ExpectTheCpus(a, dtype, {.impl = "cudnn"});
    }
  }
  Placement any_order{.impl = "cudnn"};
  any_order.device.deterministic = false;
  ExpectTheCpus(kDropping[0], DType::kFloat16, any_order);
}

TEST(CudaAttention, OfAPackedProductIsTheCpus) {
  for (const auto& [length, heads, kv_heads] : {std::array{7, 4, 4}, {9, 4, 2}, {1, 1, 1}}) {
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      const Tensor qkv = RandomTensor(dtype, {2, length, (heads + 2 * kv_heads) * 8}, -1, 1, 1),
                   g = RandomTensor(dtype, {2, length, heads, 8}, -1, 1, 2);
      const std::vector<Attr> attrs = {true, 0.3, int64_t{heads}, int64_t{kv_heads}};
      const double tolerance = dtype == DType::kFloat16 ? 3e-3 : 2e-2;
      const auto want = EvaluateOnCpu(ops::kAttentionPacked, attrs, {qkv});
      const auto got = EvaluateOnCuda(ops::kAttentionPacked, attrs, {qkv}, "cudnn");
      for (size_t i = 0; i < 2; ++i) ExpectClose(got[i], want[i], tolerance);
      const std::vector<Tensor> inputs = {g, want[0], want[1], qkv};
      const auto want_grad = EvaluateOnCpu(ops::kAttentionPackedGrad, attrs, inputs);
      const auto grad = EvaluateOnCuda(ops::kAttentionPackedGrad, attrs, inputs, "cudnn");
      ExpectClose(grad[0], want_grad[0], tolerance);
    }
  }
}

}  // namespace
}  // namespace ostria
