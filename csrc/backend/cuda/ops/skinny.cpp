// SPDX-License-Identifier: Apache-2.0
// Products of at most eight rows or columns, by a kernel of ours: they only read the larger operand
// once, and a library call costs more than that where they are small.
#include <algorithm>

#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "backend/matmul_desc.h"
#include "kernels/linalg/skinny.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::kSkinnyBlock;
using kernels::kSkinnyLanes;
using kernels::kSkinnyMost;
using kernels::kSkinnySlices;
using kernels::SkinnyParams;

// The small operand is read by every block, from its first-level cache.
constexpr int64_t kMostSmallBytes = 96 << 10;
// Vectors that a thread may read one after the other where there are not blocks for all
// multiprocessors: a library splits such sums.
constexpr int64_t kMostTurns = 64;

struct Skinny {
  SkinnyParams params;
  bool rows = false;        // w is read along k
  bool by_columns = false;  // t counts columns of the result: x is b, w is a
  int64_t blocks = 0;
};

int64_t Over(int64_t n, int64_t by) { return (n + by - 1) / by; }

Support Describe(const NodeDesc& node, Skinny* skinny) {
  const MatmulDesc d = DescribeMatmul(node);
  if (d.dtype != DType::kFloat32 && d.dtype != DType::kFloat16 && d.dtype != DType::kBFloat16) {
    return Support::No("is for float32, float16 and bfloat16, not ", d.dtype);
  }
  if (d.batch_rank != 0) return Support::No("is for one product, not a batch of them");
  if (!d.is_simple()) return Support::No("ends in a bias and an activation alone");
  const int64_t few = std::min(d.m, d.n);
  if (few > kSkinnyMost) {
    return Support::No("needs at most ", kSkinnyMost, " rows or columns, not ", d.m, " x ", d.n);
  }
  SkinnyParams& p = skinny->params;
  const bool by_columns = skinny->by_columns = d.n < d.m;
  const int64_t w_j = by_columns ? d.a_m : d.b_n, w_k = by_columns ? d.a_k : d.b_k;
  if (w_j != 1 && w_k != 1) return Support::No("needs rows or columns that lie dense");
  p.t = static_cast<int32_t>(few);
  p.j = by_columns ? d.m : d.n;
  p.k = d.k;
  p.x_t = by_columns ? d.b_n : d.a_m;
  p.x_k = by_columns ? d.b_k : d.a_k;
  p.y_t = by_columns ? d.y_n : d.y_m;
  p.y_j = by_columns ? d.y_m : d.y_n;
  p.activation = static_cast<int32_t>(d.activation());
  p.bias_by_t = by_columns ? 1 : 0;
  p.wide = d.result != d.dtype ? 1 : 0;

  const int64_t size = SizeOf(d.dtype), vector = 16 / size;
  if (few * d.k * size > kMostSmallBytes) {
    return Support::No("its small operand of ", few, " x ", d.k, " elements fits no first cache");
  }
  skinny->rows = w_k == 1;
  p.w_stride = skinny->rows ? w_j : w_k;
  int64_t turns = 0;
  if (skinny->rows) {
    const int64_t of_a_warp = Over(d.k, 32 * vector);
    constexpr int64_t kWarps = kSkinnyBlock / 32;
    p.warps_per_row = of_a_warp > kWarps ? kWarps : 1;
    skinny->blocks = p.warps_per_row > 1 ? p.j : Over(p.j, kWarps);
    turns = Over(of_a_warp, p.warps_per_row);
  } else {
    skinny->blocks = Over(p.j, kSkinnyLanes * vector);
    turns = Over(d.k, kSkinnySlices);
  }
  if (turns > kMostTurns && skinny->blocks < node.device->multiprocessors) {
    return Support::No("sums of ", d.k, " products want more than ", skinny->blocks, " blocks");
  }
  return Support::Yes();
}

Support Supports(const NodeDesc& node) {
  Skinny skinny;
  return Describe(node, &skinny);
}

template <bool by_columns, bool has_bias>
void Point(SkinnyParams* p, void* const* ptrs) {
  p->x = ptrs[by_columns ? 1 : 0];
  p->w = ptrs[by_columns ? 0 : 1];
  p->bias = has_bias ? ptrs[2] : nullptr;
  p->y = ptrs[has_bias ? 3 : 2];
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& node) {
  Skinny skinny;
  Describe(node, &skinny);
  auto state = std::make_unique<OneLaunch<SkinnyParams>>();
  const char* const along = skinny.rows ? "rows" : "cols";
  state->file = "linalg/skinny";
  state->function = StrCat("skinny_", along, "_", node.inputs[0].dtype);
  state->detail = StrCat(along, " ", skinny.params.t, "x", skinny.params.j, "x", skinny.params.k);
  state->params = skinny.params;
  state->shape.block = kSkinnyBlock;
  state->shape.grid[0] = GridFor(skinny.blocks, 1, 1, *node.device);
  const bool bias = node.inputs.size() == 3;
  if (skinny.by_columns) {
    state->point = bias ? Point<true, true> : Point<true, false>;
  } else {
    state->point = bias ? Point<false, true> : Point<false, false>;
  }
  return state;
}

constexpr KernelDef kKernels[] = {{.op = &ops::kMatmul,
                                   .impl = "skinny",
                                   .supports = Supports,
                                   .prepare = Prepare,
                                   .launch = RunOne<SkinnyParams>,
                                   .bind = BindOne<SkinnyParams>},
                                  {.op = &ops::kMatmulFused,
                                   .impl = "skinny",
                                   .supports = Supports,
                                   .prepare = Prepare,
                                   .launch = RunOne<SkinnyParams>,
                                   .bind = BindOne<SkinnyParams>}};

}  // namespace

std::span<const KernelDef> SkinnyKernels() { return kKernels; }

}  // namespace ostria::cuda
