// SPDX-License-Identifier: Apache-2.0
// Batch and group normalisation for float32 and float64: statistics in two passes (mean, then
// squared distance). Rows of a batch are cut into pieces by size alone, and the examples that
// groups belong to are computed each by itself, so results do not depend on the number of threads.
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

const BatchNormTable* CurrentTable() {
  return &OfCurrentIsa(kBatchNormBaseline, kBatchNormAvx2, kBatchNormAvx512);
}

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
  state->table = CurrentTable();
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

// --- group normalisation -------------------------------------------------------------------------

struct GroupState : KernelState {
  DType dtype = DType::kFloat32;
  const BatchNormTable* table = nullptr;
  int64_t examples = 0, rows = 0, cols = 0, groups = 1, grain = 1;
  double epsilon = 0;
};

std::unique_ptr<GroupState> PrepareGroups(const MemDesc& x, int64_t groups, int vectors) {
  auto state = std::make_unique<GroupState>();
  state->dtype = x.dtype;
  state->examples = x.sizes[0];
  state->cols = x.sizes[x.rank - 1];
  state->rows = x.numel() / std::max<int64_t>(1, state->examples * state->cols);
  state->groups = groups;
  state->grain = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, state->rows * state->cols));
  state->table = CurrentTable();
  state->workspace_bytes = state->examples * vectors * state->cols * SizeOf(x.dtype);
  state->detail = Name(CurrentIsa());
  return state;
}

// What each example needs of the workspace, in vectors of one number per channel.
constexpr int kForwardVectors = 3, kBackwardVectors = 6;

std::unique_ptr<KernelState> PrepareGroupNorm(const NodeDesc& node) {
  auto state =
      PrepareGroups(node.inputs[0], node.attr<int64_t>(ops::NormAttr::kGroups), kForwardVectors);
  state->epsilon = node.attr<double>(ops::NormAttr::kEpsilon);
  return state;
}

std::unique_ptr<KernelState> PrepareGroupNormGrad(const NodeDesc& node) {
  return PrepareGroups(node.inputs[1], node.attr<int64_t>(0), kBackwardVectors);
}

// Calls fn(example, offset of its first element) for every example.
template <class Fn>
void ForExamples(const GroupState& s, Fn fn) {
  ParallelFor(s.examples, s.grain, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) fn(n, n * s.rows * s.cols);
  });
}

// Calls fn(group, first channel, last channel + 1).
template <class Fn>
void ForGroups(const GroupState& s, Fn fn) {
  const int64_t size = s.cols / s.groups;
  for (int64_t g = 0; g < s.groups; ++g) fn(g, g * size, (g + 1) * size);
}

template <class T>
double SumOf(const T* values, int64_t begin, int64_t end) {
  double sum = 0;
  for (int64_t c = begin; c < end; ++c) sum += static_cast<double>(values[c]);
  return sum;
}

template <class T>
void GroupForward(const GroupState& s, const BatchNormKernels<T>& k, void* const* ptrs) {
  const T *x = static_cast<const T*>(ptrs[0]), *scale = static_cast<const T*>(ptrs[1]),
          *bias = static_cast<const T*>(ptrs[2]);
  T *y = static_cast<T*>(ptrs[3]), *means = static_cast<T*>(ptrs[4]),
    *rstds = static_cast<T*>(ptrs[5]);
  const double elements = static_cast<double>(s.rows * (s.cols / s.groups));
  ForExamples(s, [&](int64_t n, int64_t at) {
    T *sums = static_cast<T*>(ptrs[6]) + n * kForwardVectors * s.cols, *mean = sums + s.cols,
      *factor = mean + s.cols;
    k.sums(x + at, nullptr, s.rows, s.cols, sums);
    ForGroups(s, [&](int64_t g, int64_t begin, int64_t end) {
      const T m = static_cast<T>(SumOf(sums, begin, end) / elements);
      means[n * s.groups + g] = m;
      std::fill(mean + begin, mean + end, m);
    });
    k.sums(x + at, mean, s.rows, s.cols, sums);
    ForGroups(s, [&](int64_t g, int64_t begin, int64_t end) {
      const double r = 1 / std::sqrt(SumOf(sums, begin, end) / elements + s.epsilon);
      rstds[n * s.groups + g] = static_cast<T>(r);
      for (int64_t c = begin; c < end; ++c) {
        factor[c] = static_cast<T>(static_cast<double>(scale[c]) * r);
      }
    });
    k.apply(x + at, mean, factor, bias, y + at, s.rows, s.cols);
  });
}

// dx = rstd (g scale - mean(g scale) - xhat mean(g scale xhat)), written as g a + (x - mean) b + c.
template <class T>
void GroupBackward(const GroupState& s, const BatchNormKernels<T>& k, void* const* ptrs) {
  const T *grad = static_cast<const T*>(ptrs[0]), *x = static_cast<const T*>(ptrs[1]),
          *scale = static_cast<const T*>(ptrs[2]), *means = static_cast<const T*>(ptrs[3]),
          *rstds = static_cast<const T*>(ptrs[4]);
  T *dx = static_cast<T*>(ptrs[5]), *dscale = static_cast<T*>(ptrs[6]),
    *dbias = static_cast<T*>(ptrs[7]), *workspace = static_cast<T*>(ptrs[8]);
  const double elements = static_cast<double>(s.rows * (s.cols / s.groups));
  ForExamples(s, [&](int64_t n, int64_t at) {
    T *sum_g = workspace + n * kBackwardVectors * s.cols, *sum_gx = sum_g + s.cols,
      *mean = sum_gx + s.cols, *a = mean + s.cols, *b = a + s.cols, *c0 = b + s.cols;
    ForGroups(s, [&](int64_t g, int64_t begin, int64_t end) {
      std::fill(mean + begin, mean + end, means[n * s.groups + g]);
    });
    k.grad_sums(grad + at, x + at, mean, s.rows, s.cols, sum_g, sum_gx);
    ForGroups(s, [&](int64_t g, int64_t begin, int64_t end) {
      const double rstd = static_cast<double>(rstds[n * s.groups + g]);
      double total = 0, dot = 0;
      for (int64_t c = begin; c < end; ++c) {
        sum_gx[c] = static_cast<T>(static_cast<double>(sum_gx[c]) * rstd);
        total += static_cast<double>(scale[c]) * static_cast<double>(sum_g[c]);
        dot += static_cast<double>(scale[c]) * static_cast<double>(sum_gx[c]);
      }
      for (int64_t c = begin; c < end; ++c) a[c] = static_cast<T>(scale[c] * rstd);
      std::fill(b + begin, b + end, static_cast<T>(-rstd * rstd * dot / elements));
      std::fill(c0 + begin, c0 + end, static_cast<T>(-rstd * total / elements));
    });
    k.apply_grad(grad + at, x + at, mean, a, b, c0, dx + at, s.rows, s.cols);
  });
  for (int64_t c = 0; c < s.cols; ++c) {
    double g = 0, gx = 0;
    for (int64_t n = 0; n < s.examples; ++n) {
      const T* sums = workspace + n * kBackwardVectors * s.cols;
      g += static_cast<double>(sums[c]);
      gx += static_cast<double>(sums[s.cols + c]);
    }
    dscale[c] = static_cast<T>(gx);
    dbias[c] = static_cast<T>(g);
  }
}

void LaunchGroupNorm(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const GroupState&>(state);
  s.dtype == DType::kFloat32 ? GroupForward(s, s.table->f32, ptrs)
                             : GroupForward(s, s.table->f64, ptrs);
}

void LaunchGroupNormGrad(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const GroupState&>(state);
  s.dtype == DType::kFloat32 ? GroupBackward(s, s.table->f32, ptrs)
                             : GroupBackward(s, s.table->f64, ptrs);
}

bool AliasGradient(const NodeDesc&, int out, int in) { return out == 0 && in == 0; }

constexpr KernelDef kKernels[] = {
    {&ops::kBatchNorm, "channels", SupportsNorm, PrepareNorm, LaunchForward},
    {&ops::kBatchNormGrad, "channels", SupportsNorm, PrepareNorm, LaunchBackward, AliasGradient},
    {&ops::kGroupNorm, "channels", SupportsNorm, PrepareGroupNorm, LaunchGroupNorm},
    {&ops::kGroupNormGrad, "channels", SupportsNorm, PrepareGroupNormGrad, LaunchGroupNormGrad,
     AliasGradient},
};

}  // namespace

std::span<const KernelDef> NormKernels() { return kKernels; }

}  // namespace ostria::cpu
