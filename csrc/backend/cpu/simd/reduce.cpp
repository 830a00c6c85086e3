// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/reduce.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "backend/cpu/simd/copy.h"
#include "backend/cpu/simd/fold.h"
#include "base/check.h"

namespace ostria {
namespace {

constexpr std::string_view kNames[] = {"sum", "mean", "prod",   "max",   "min",
                                       "any", "all",  "argmax", "argmin"};

bool IsArg(ReduceOp op) { return op == ReduceOp::kArgMax || op == ReduceOp::kArgMin; }
bool IsHalf(DType t) { return t == DType::kFloat16 || t == DType::kBFloat16; }
int64_t Align(int64_t bytes) { return (bytes + 63) / 64 * 64; }

FoldOp FoldOf(ReduceOp op) {
  switch (op) {
    case ReduceOp::kProd: return FoldOp::kProd;
    case ReduceOp::kMax:
    case ReduceOp::kAny: return FoldOp::kMax;
    case ReduceOp::kMin:
    case ReduceOp::kAll: return FoldOp::kMin;
    default: return FoldOp::kSum;
  }
}

template <class T>
void FloatStage(FoldOp op, const ReduceStage& s, const T* in, T* out) {
  if (s.inner > 1) {
    const bool by_outer = s.outer > 1 && s.reduced * s.inner <= kFoldPiece;
    const int64_t slice = s.reduced * s.inner;
    const int64_t grain =
        by_outer ? std::max<int64_t>(1, kFoldPiece / 2 / std::max<int64_t>(1, slice)) : s.outer;
    ParallelFor(s.outer, grain, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        FoldRowsToColumns(op, in + o * slice, s.reduced, s.inner, out + o * s.inner);
      }
    });
    return;
  }
  if (s.reduced > kFoldPiece) {  // long rows: FoldAll's own cut decides the result
    for (int64_t o = 0; o < s.outer; ++o) out[o] = FoldAll(op, in + o * s.reduced, s.reduced);
    return;
  }
  const auto fold = DenseOf<T>().fold[static_cast<int>(op)];
  const int64_t grain = std::max<int64_t>(1, kFoldPiece / 2 / std::max<int64_t>(1, s.reduced));
  ParallelFor(s.outer, grain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) out[o] = fold(in + o * s.reduced, s.reduced);
  });
}

template <class T>
T IntIdentity(FoldOp op) {
  switch (op) {
    case FoldOp::kProd: return T(1);
    case FoldOp::kMax: return std::numeric_limits<T>::lowest();
    case FoldOp::kMin: return std::numeric_limits<T>::max();
    default: return T(0);
  }
}

template <class T>
T IntJoin(FoldOp op, T a, T b) {
  using U = uint64_t;  // wraps instead of overflowing
  switch (op) {
    case FoldOp::kProd: return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
    case FoldOp::kMax: return a > b ? a : b;
    case FoldOp::kMin: return a < b ? a : b;
    default: return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  }
}

template <FoldOp op, class T>
void IntStageOf(const ReduceStage& s, const T* in, T* out) {
  const int64_t slice = s.reduced * s.inner;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, slice));
  ParallelFor(s.outer, grain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      T* to = out + o * s.inner;
      std::fill_n(to, s.inner, IntIdentity<T>(op));
      for (int64_t r = 0; r < s.reduced; ++r) {
        const T* row = in + o * slice + r * s.inner;
        for (int64_t i = 0; i < s.inner; ++i) to[i] = IntJoin(op, to[i], row[i]);
      }
    }
  });
}

template <class T>
void IntStage(FoldOp op, const ReduceStage& s, const T* in, T* out) {
  switch (op) {
    case FoldOp::kProd: return IntStageOf<FoldOp::kProd>(s, in, out);
    case FoldOp::kMax: return IntStageOf<FoldOp::kMax>(s, in, out);
    case FoldOp::kMin: return IntStageOf<FoldOp::kMin>(s, in, out);
    default: return IntStageOf<FoldOp::kSum>(s, in, out);
  }
}

// The first greatest (or least) element; the first NaN if there is one.
template <class T>
void ArgStage(bool max, const ReduceStage& s, const T* in, int64_t* out) {
  const auto value = [&](int64_t i) {
    if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
      return static_cast<float>(in[i]);
    } else {
      return in[i];
    }
  };
  const int64_t slice = s.reduced * s.inner;
  ParallelFor(s.outer * s.inner, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, s.reduced)),
              [&](int64_t begin, int64_t end) {
                for (int64_t k = begin; k < end; ++k) {
                  const int64_t base = k / s.inner * slice + k % s.inner;
                  int64_t best = 0;
                  if (s.reduced > 0) {
                    auto top = value(base);
                    for (int64_t r = 1; r < s.reduced && top == top; ++r) {
                      const auto v = value(base + r * s.inner);
                      if ((max ? v > top : v < top) || v != v) {
                        top = v;
                        best = r;
                      }
                    }
                  }
                  out[k] = best;
                }
              });
}

void RunArg(const ReduceProgram& p, const void* in, int64_t* out) {
  DispatchDType(p.dtype, [&]<class T>(T*) {
    ArgStage(p.op == ReduceOp::kArgMax, p.stages[0], static_cast<const T*>(in), out);
  });
}

// Runs the stages through the workspace; the last one writes `out`.
template <class T, class Stage>
void RunStages(const ReduceProgram& p, const T* in, T* out, char* workspace, Stage stage) {
  for (int i = 0; i < p.n_stages; ++i) {
    const ReduceStage& s = p.stages[i];
    T* to = i + 1 == p.n_stages ? out : reinterpret_cast<T*>(workspace);
    stage(FoldOf(p.op), s, in, to);
    in = to;
    workspace += Align(s.outer * s.inner * int64_t{sizeof(T)});
  }
}

template <class T>
void RunFloat(const ReduceProgram& p, const T* in, T* out, char* workspace) {
  RunStages<T>(p, in, out, workspace, FloatStage<T>);
  if (p.op != ReduceOp::kMean) return;
  const T count = static_cast<T>(p.count);
  for (int64_t i = 0; i < p.out_numel; ++i) out[i] /= count;
}

}  // namespace

bool ReduceSupports(ReduceOp op, DType dtype) {
  const bool logical = op == ReduceOp::kAny || op == ReduceOp::kAll;
  const bool order = op == ReduceOp::kMax || op == ReduceOp::kMin || IsArg(op);
  if (dtype == DType::kBool) return logical || order;
  if (logical) return false;
  return IsFloat(dtype) || op != ReduceOp::kMean;
}

DType ReduceResult(ReduceOp op, DType dtype) { return IsArg(op) ? DType::kInt64 : dtype; }

ReduceProgram PrepareReduce(const ReduceArgs& args) {
  const std::string_view name = kNames[static_cast<int>(args.op)];
  if (!ReduceSupports(args.op, args.dtype)) {
    Fail(ErrorCode::kNotImplemented, name, ": not defined for ", args.dtype,
         " inputs; cast them first");
  }
  OSTRIA_CHECK(args.rank >= 0 && args.rank <= kMaxReduceRank);
  ReduceProgram p;
  p.op = args.op;
  p.dtype = args.dtype;
  p.out_numel = p.count = 1;
  // Alternating groups of kept and reduced axes.
  int64_t sizes[kMaxReduceRank];
  bool reduced[kMaxReduceRank];
  int groups = 0, n_reduced = 0;
  for (int d = 0; d < args.rank; ++d) {
    (args.reduced[d] ? p.count : p.out_numel) *= args.sizes[d];
    if (args.sizes[d] == 1) continue;
    if (groups > 0 && reduced[groups - 1] == args.reduced[d]) {
      sizes[groups - 1] *= args.sizes[d];
    } else {
      sizes[groups] = args.sizes[d];
      reduced[groups++] = args.reduced[d];
      n_reduced += args.reduced[d];
    }
  }
  if (IsArg(args.op) && n_reduced > 1) {
    Fail(ErrorCode::kNotImplemented, name, ": the axes must be adjacent; give one axis or none");
  }
  const bool half = IsHalf(args.dtype) && !IsArg(args.op);
  const int64_t size = half ? 4 : SizeOf(args.dtype);
  int64_t inner = 1;
  for (int g = groups - 1; g >= 0; --g) {
    if (!reduced[g]) {
      inner *= sizes[g];
      continue;
    }
    int64_t outer = 1;
    for (int h = 0; h < g; ++h) outer *= sizes[h];
    p.stages[p.n_stages++] = {outer, sizes[g], inner};
  }
  if (p.n_stages == 0) p.stages[p.n_stages++] = {1, 1, inner};  // nothing to reduce: a copy
  for (int i = 0; i + 1 < p.n_stages; ++i) {
    p.workspace_bytes += Align(p.stages[i].outer * p.stages[i].inner * size);
  }
  if (half) p.workspace_bytes += Align(p.out_numel * p.count * 4) + Align(p.out_numel * 4);
  return p;
}

void RunReduce(const ReduceProgram& p, const void* in, void* out, void* workspace) {
  if (p.out_numel == 0) return;
  if (IsArg(p.op)) return RunArg(p, in, static_cast<int64_t*>(out));
  char* scratch = static_cast<char*>(workspace);
  if (IsHalf(p.dtype)) {
    const int64_t n = p.out_numel * p.count;
    float* wide = reinterpret_cast<float*>(scratch);
    float* result = reinterpret_cast<float*>(scratch + Align(n * 4));
    Cast(p.dtype, in, DType::kFloat32, wide, n);
    RunFloat<float>(p, wide, result, scratch + Align(n * 4) + Align(p.out_numel * 4));
    Cast(DType::kFloat32, result, p.dtype, out, p.out_numel);
    return;
  }
  DispatchDType(p.dtype, [&]<class T>(T*) {
    if constexpr (std::is_floating_point_v<T>) {
      RunFloat(p, static_cast<const T*>(in), static_cast<T*>(out), scratch);
    } else if constexpr (std::is_integral_v<T>) {
      RunStages<T>(p, static_cast<const T*>(in), static_cast<T*>(out), scratch, IntStage<T>);
    }
  });
}

}  // namespace ostria
