// SPDX-License-Identifier: Apache-2.0
// Reductions over any axes of any dtype, as generated loops: the reduced axes become the columns of
// a space where the last axis is one of them, and its rows otherwise, so that neighbours in memory
// are read by neighbours. Positions of extrema have kernels of their own.
#include <algorithm>
#include <vector>

#include "backend/cuda/codegen/loop_launch.h"
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "base/check.h"
#include "kernels/reduce/arg.h"
#include "ops/common/reduce.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::ArgOrder;
using kernels::ArgParams;
using kernels::ScalarOp;

struct Axes {
  bool reduced[kMaxRank] = {};
  int64_t count = 1;  // of elements that become one
};
Axes AxesOf(const NodeDesc& d) {
  Axes out;
  const MemDesc& x = d.inputs[0];
  for (int axis : ops::Axes(d.attr<std::vector<int64_t>>(ops::kReduceAxis), x.rank)) {
    out.reduced[axis] = true;
    out.count *= x.sizes[axis];
  }
  return out;
}

LoopFold FoldOf(const OpDef& op) {
  if (&op == &ops::kProd) return LoopFold::kProd;
  if (&op == &ops::kMax || &op == &ops::kAny) return LoopFold::kMax;
  if (&op == &ops::kMin || &op == &ops::kAll) return LoopFold::kMin;
  return LoopFold::kSum;
}

// Axes of size 1 are left out.
LoopProgram ProgramOf(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  const Axes axes = AxesOf(d);
  std::vector<int> kept, reduced;
  for (int a = 0; a < x.rank; ++a) {
    if (x.sizes[a] > 1) (axes.reduced[a] ? reduced : kept).push_back(a);
  }
  const bool columns = !reduced.empty() && !kept.empty() && reduced.back() > kept.back();
  const std::vector<int>&outer = columns ? kept : reduced, &inner = columns ? reduced : kept;
  LoopProgram p;
  p.column_axes = static_cast<int>(inner.size());
  LoopOperand in{.dtype = x.dtype, .strides = {}}, out{.dtype = y.dtype, .strides = {}};
  for (const auto* list : {&outer, &inner}) {
    for (int a : *list) {
      p.sizes.push_back(x.sizes[a]);
      in.strides.push_back(x.strides[a]);
      int64_t stride = axes.reduced[a] ? 0 : 1;
      for (int later : kept) {
        if (later > a) stride *= x.sizes[later];
      }
      out.strides.push_back(stride);
    }
  }
  const auto emit = [&](LoopInstr i) {
    p.code.push_back(i);
    return static_cast<int32_t>(p.code.size()) - 1;
  };
  const DType inside = LoopDType(y.dtype);
  int32_t v = emit({.kind = LoopKind::kLoad, .dtype = LoopDType(x.dtype), .operand = 0});
  if (p.code[v].dtype != inside) {
    v = emit({.kind = LoopKind::kCast, .dtype = inside, .args = {v, -1, -1}});
  }
  const auto scaled = [&](int32_t value) {
    if (d.op != &ops::kMean) return value;
    const double share = 1 / static_cast<double>(axes.count);
    const int32_t number = emit({.kind = LoopKind::kNumber, .dtype = inside, .number = {share, 0}});
    return emit({.kind = LoopKind::kScalar,
                 .dtype = inside,
                 .op = ScalarOp::kMultiply,
                 .args = {value, number, -1}});
  };
  if (!columns) v = scaled(v);  // what is folded over rows can only be stored
  v = emit({.kind = columns ? LoopKind::kFoldCols : LoopKind::kFoldRows,
            .dtype = inside,
            .fold = FoldOf(*d.op),
            .args = {v, -1, -1}});
  out.value = columns ? scaled(v) : v;
  p.inputs.push_back(std::move(in));
  p.outputs.push_back(std::move(out));
  return p;
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  std::string why;
  auto loop = GenerateLoop(ProgramOf(d), *d.device, &why);
  OSTRIA_CHECK(loop.has_value(), d.op->name, ": ", why);
  return PlanLoop(d, std::string(d.op->name),
                  std::make_shared<const GeneratedLoop>(std::move(*loop)));
}

Support Supports(const NodeDesc& d) {
  if (d.inputs[0].numel() == 0) return Support::No("there are no elements");
  return NeedsDense(d);
}

// --- Positions

ArgOrder OrderOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return ArgOrder::kFloat16;
    case DType::kBFloat16: return ArgOrder::kBFloat16;
    case DType::kFloat32: return ArgOrder::kFloat32;
    case DType::kFloat64: return ArgOrder::kFloat64;
    default: return KindOf(dtype) == DTypeKind::kSigned ? ArgOrder::kSigned : ArgOrder::kUnsigned;
  }
}

std::unique_ptr<KernelState> PrepareArg(const NodeDesc& d) {
  constexpr int64_t kShort = 1024;  // rows of which a warp takes one
  const MemDesc& x = d.inputs[0];
  const Axes axes = AxesOf(d);
  auto state = std::make_unique<OneLaunch<ArgParams>>();
  ArgParams& p = state->params;
  p.outer = p.inner = 1;
  p.n = axes.count;
  bool behind = false;  // one axis, or all
  for (int a = 0; a < x.rank; ++a) {
    if (!axes.reduced[a]) (behind ? p.inner : p.outer) *= x.sizes[a];
    behind |= axes.reduced[a];
  }
  p.order = OrderOf(x.dtype);
  p.bytes = static_cast<int32_t>(SizeOf(x.dtype));
  p.smallest = d.op == &ops::kArgmin;
  p.lanes = p.n <= kShort ? 32 : static_cast<int32_t>(state->shape.block);
  state->file = "reduce/arg";
  state->function = p.inner == 1 ? "arg_rows" : "arg_columns";
  const int64_t threads = p.inner == 1 ? p.outer * p.lanes : p.outer * p.inner;
  state->shape.grid[0] = GridFor(threads, 1, state->shape.block, *d.device);
  state->detail = state->function;
  state->point = [](ArgParams* params, void* const* ptrs) {
    params->src = ptrs[0];
    params->dst = static_cast<int64_t*>(ptrs[1]);
  };
  return state;
}

constexpr KernelDef Reduce(const OpDef& op) {
  return {.op = &op,
          .impl = "reduce",
          .supports = Supports,
          .prepare = Prepare,
          .launch = RunLoop,
          .bind = BindLoop};
}
constexpr KernelDef Arg(const OpDef& op) {
  return {.op = &op,
          .impl = "reduce",
          .supports = Supports,
          .prepare = PrepareArg,
          .launch = RunOne<ArgParams>,
          .bind = BindOne<ArgParams>};
}

constexpr KernelDef kKernels[] = {
    Reduce(ops::kSum), Reduce(ops::kMean), Reduce(ops::kProd), Reduce(ops::kMax), Reduce(ops::kMin),
    Reduce(ops::kAny), Reduce(ops::kAll),  Arg(ops::kArgmax),  Arg(ops::kArgmin),
};

}  // namespace

std::span<const KernelDef> ReduceKernels() { return kKernels; }

}  // namespace ostria::cuda
