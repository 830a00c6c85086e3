// SPDX-License-Identifier: Apache-2.0
// Reductions of a dense row-major tensor over any set of axes. Floats are summed pairwise (half
// types in float32), integers wrap in their own dtype. Work is cut by size alone: the same bits for
// any number of threads. Keepdims is the caller's affair: the output is dense over the kept axes.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace ostria {

enum class ReduceOp : uint8_t { kSum, kMean, kProd, kMax, kMin, kAny, kAll, kArgMax, kArgMin };

inline constexpr int kMaxReduceRank = 8;

struct ReduceArgs {
  ReduceOp op;
  DType dtype;  // of the input
  int rank;     // at most 8
  const int64_t* sizes;
  const bool* reduced;  // per axis; kArgMax and kArgMin: adjacent axes only, counted row-major
};

/// One pass [outer, reduced, inner] -> [outer, inner].
struct ReduceStage {
  int64_t outer, reduced, inner;
};
struct ReduceProgram {
  ReduceOp op = ReduceOp::kSum;
  DType dtype = DType::kFloat32;
  int n_stages = 0;  // innermost axes first
  ReduceStage stages[kMaxReduceRank / 2 + 1] = {};
  int64_t out_numel = 0, count = 0;  // elements of the output, elements behind each
  int64_t workspace_bytes = 0;
};

/// bool: kAny, kAll, kMax, kMin, arg; integers: no kMean, kAny, kAll; floats: no kAny, kAll.
bool ReduceSupports(ReduceOp op, DType dtype);
/// int64 for kArgMax and kArgMin, else the input's.
DType ReduceResult(ReduceOp op, DType dtype);
/// Throws Error(kNotImplemented) when unsupported.
ReduceProgram PrepareReduce(const ReduceArgs& args);
/// `workspace` holds program.workspace_bytes, aligned to 64. An empty reduction gives the identity
/// (sum 0, max the lowest value, mean NaN); of kArgMax and kArgMin it gives 0. NaN wins max, min
/// and both args.
void RunReduce(const ReduceProgram& program, const void* in, void* out, void* workspace);

}  // namespace ostria
