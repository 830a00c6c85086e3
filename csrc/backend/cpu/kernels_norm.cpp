// SPDX-License-Identifier: Apache-2.0
// Batch normalisation for float32 and float64: statistics in two passes (mean, then squared
// distance), rows cut into pieces by size alone, so results do not depend on the number of threads.
#include <algorithm>
#include <cmath>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/batch_norm_table.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "base/parallel.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

constexpr int64_t kPiece = 16384;  // elements worth a thread
constexpr int64_t kMaxPieces = 32;

struct NormState : KernelState {
  DType dtype = DType::kFloat32;
  const BatchNormTable* table = nullptr;
  int64_t rows = 0, cols = 0, pieces = 1, piece_rows = 0;
  double epsilon = 0;
};

Support SupportsNorm(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  return NeedsDense(node);
}

std::unique_ptr<KernelState> PrepareNorm(const NodeDesc& node) {
  auto state = std::make_unique<NormState>();
  const MemDesc& x = node.inputs[0];
  state->dtype = x.dtype;
  state->cols = x.sizes[x.rank - 1];
  state->rows = x.numel() / std::max<int64_t>(1, state->cols);
  state->pieces = std::clamp<int64_t>(x.numel() / kPiece, 1, std::min(kMaxPieces, state->rows));
  state->piece_rows = (state->rows + state->pieces - 1) / state->pieces;
  state->epsilon = node.attr<double>(ops::NormAttr::kEpsilon);
  state->table = CurrentIsa() == Isa::kAvx512 ? &kBatchNormAvx512
                 : CurrentIsa() == Isa::kAvx2 ? &kBatchNormAvx2
                                              : &kBatchNormBaseline;
  // Two partial sums per piece and column, three numbers per column.
  state->workspace_bytes = (2 * state->pieces + 3) * state->cols * SizeOf(x.dtype);
  state->detail = Name(CurrentIsa());
  return state;
}

// Calls fn(piece, first row, rows) for every piece of rows.
template <class Fn>
void ForPieces(const NormState& s, Fn fn) {
  ParallelFor(s.pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * s.piece_rows;
      fn(p, first, std::max<int64_t>(0, std::min(s.piece_rows, s.rows - first)));
    }
  });
}

// Adds up the partial sums of column c, piece by piece.
template <class T>
double Total(const NormState& s, const T* partial, int64_t c) {
  double sum = 0;
  for (int64_t p = 0; p < s.pieces; ++p) sum += static_cast<double>(partial[p * s.cols + c]);
  return sum;
}

template <class T>
void Forward(const NormState& s, const BatchNormKernels<T>& k, void* const* ptrs) {
  const T *x = static_cast<const T*>(ptrs[0]), *scale = static_cast<const T*>(ptrs[1]),
          *bias = static_cast<const T*>(ptrs[2]);
  T *y = static_cast<T*>(ptrs[3]), *mean = static_cast<T*>(ptrs[4]),
    *var = static_cast<T*>(ptrs[5]);
  T *partial = static_cast<T*>(ptrs[6]), *factor = partial + 2 * s.pieces * s.cols;
  const double n = static_cast<double>(s.rows);
  ForPieces(s, [&](int64_t p, int64_t first, int64_t rows) {
    k.sums(x + first * s.cols, nullptr, rows, s.cols, partial + p * s.cols);
  });
  for (int64_t c = 0; c < s.cols; ++c) mean[c] = static_cast<T>(Total(s, partial, c) / n);
  ForPieces(s, [&](int64_t p, int64_t first, int64_t rows) {
    k.sums(x + first * s.cols, mean, rows, s.cols, partial + p * s.cols);
  });
  for (int64_t c = 0; c < s.cols; ++c) {
    const double v = Total(s, partial, c) / n;
    var[c] = static_cast<T>(v);
    factor[c] = static_cast<T>(static_cast<double>(scale[c]) / std::sqrt(v + s.epsilon));
  }
  ForPieces(s, [&](int64_t, int64_t first, int64_t rows) {
    k.apply(x + first * s.cols, mean, factor, bias, y + first * s.cols, rows, s.cols);
  });
}

// dx = scale rstd (g - (dbias + xhat dscale) / n), written as g a + (x - mean) b + c.
template <class T>
void Backward(const NormState& s, const BatchNormKernels<T>& k, void* const* ptrs) {
  const T *g = static_cast<const T*>(ptrs[0]), *x = static_cast<const T*>(ptrs[1]),
          *scale = static_cast<const T*>(ptrs[2]), *mean = static_cast<const T*>(ptrs[3]),
          *var = static_cast<const T*>(ptrs[4]);
  T *dx = static_cast<T*>(ptrs[5]), *dscale = static_cast<T*>(ptrs[6]),
    *dbias = static_cast<T*>(ptrs[7]);
  T *sum_g = static_cast<T*>(ptrs[8]), *sum_gx = sum_g + s.pieces * s.cols;
  T *a = sum_gx + s.pieces * s.cols, *b = a + s.cols, *c0 = b + s.cols;
  const double n = static_cast<double>(s.rows);
  ForPieces(s, [&](int64_t p, int64_t first, int64_t rows) {
    k.grad_sums(g + first * s.cols, x + first * s.cols, mean, rows, s.cols, sum_g + p * s.cols,
                sum_gx + p * s.cols);
  });
  for (int64_t c = 0; c < s.cols; ++c) {
    const double rstd = 1 / std::sqrt(static_cast<double>(var[c]) + s.epsilon);
    const double total_g = Total(s, sum_g, c), total_gx = Total(s, sum_gx, c) * rstd;
    const double factor = static_cast<double>(scale[c]) * rstd;
    dbias[c] = static_cast<T>(total_g);
    dscale[c] = static_cast<T>(total_gx);
    a[c] = static_cast<T>(factor);
    b[c] = static_cast<T>(-factor * rstd * total_gx / n);
    c0[c] = static_cast<T>(-factor * total_g / n);
  }
  ForPieces(s, [&](int64_t, int64_t first, int64_t rows) {
    k.apply_grad(g + first * s.cols, x + first * s.cols, mean, a, b, c0, dx + first * s.cols, rows,
                 s.cols);
  });
}

void LaunchForward(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const NormState&>(state);
  s.dtype == DType::kFloat32 ? Forward(s, s.table->f32, ptrs) : Forward(s, s.table->f64, ptrs);
}

void LaunchBackward(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const NormState&>(state);
  s.dtype == DType::kFloat32 ? Backward(s, s.table->f32, ptrs) : Backward(s, s.table->f64, ptrs);
}

bool AliasGradient(const NodeDesc&, int out, int in) { return out == 0 && in == 0; }

constexpr KernelDef kKernels[] = {
    {&ops::kBatchNorm, "channels", SupportsNorm, PrepareNorm, LaunchForward},
    {&ops::kBatchNormGrad, "channels", SupportsNorm, PrepareNorm, LaunchBackward, AliasGradient},
};

}  // namespace

std::span<const KernelDef> NormKernels() { return kKernels; }

}  // namespace ostria::cpu
