// SPDX-License-Identifier: Apache-2.0
// Reductions over any axes. What the driver lacks (sums of integers that widen, any and all of
// numbers, logsumexp) the ops' decompositions make of what it has.
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/reduce.h"
#include "ops/common/reduce.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

struct ReduceState final : KernelState {
  ReduceProgram program;
};

template <ReduceOp op>
Support Supports(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  if (!ReduceSupports(op, x.dtype)) return Support::No("not defined for ", x.dtype);
  if (ReduceResult(op, x.dtype) != y.dtype) {
    return Support::No("sums ", x.dtype, " as ", ReduceResult(op, x.dtype), ", not as ", y.dtype);
  }
  return NeedsDense(d);
}

template <ReduceOp op>
std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  const MemDesc& x = d.inputs[0];
  bool reduced[kMaxReduceRank] = {};
  for (int axis : ops::Axes(d.attr<std::vector<int64_t>>(ops::kReduceAxis), x.rank)) {
    reduced[axis] = true;
  }
  auto state = std::make_unique<ReduceState>();
  state->program = PrepareReduce(
      {.op = op, .dtype = x.dtype, .rank = x.rank, .sizes = x.sizes.data(), .reduced = reduced});
  state->workspace_bytes = state->program.workspace_bytes;
  state->detail = StrCat(state->program.n_stages, " pass(es) over ", x.dtype);
  return state;
}

void Launch(const KernelState& state, void* const* ptrs) {
  RunReduce(static_cast<const ReduceState&>(state).program, ptrs[0], ptrs[1], ptrs[2]);
}

template <ReduceOp reduce>
constexpr KernelDef Of(const OpDef& op) {
  return {.op = &op,
          .impl = "reduce",
          .supports = Supports<reduce>,
          .prepare = Prepare<reduce>,
          .launch = Launch};
}

constexpr KernelDef kKernels[] = {
    Of<ReduceOp::kSum>(ops::kSum),       Of<ReduceOp::kMean>(ops::kMean),
    Of<ReduceOp::kProd>(ops::kProd),     Of<ReduceOp::kMax>(ops::kMax),
    Of<ReduceOp::kMin>(ops::kMin),       Of<ReduceOp::kAny>(ops::kAny),
    Of<ReduceOp::kAll>(ops::kAll),       Of<ReduceOp::kArgMax>(ops::kArgmax),
    Of<ReduceOp::kArgMin>(ops::kArgmin),
};

}  // namespace

std::span<const KernelDef> ReduceKernels() { return kKernels; }

}  // namespace ostria::cpu
