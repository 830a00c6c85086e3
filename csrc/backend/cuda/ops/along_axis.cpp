// SPDX-License-Identifier: Apache-2.0
// take_along_axis and put_along_axis: elements picked by an index of their own. What broadcasts,
// the ops' decompositions repeat first.
#include "kernels/data/along_axis.h"
#include "backend/along_axis_node.h"
#include "backend/cuda/launch/indices.h"
#include "backend/cuda/launch/run_launches.h"
#include "backend/cuda/ops/kernels.h"
#include "ops/common/along_axis.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::PutAlongParams;
using kernels::TakeAlongParams;
using ops::AlongAxisAttr;

// x is [outer, size, inner], with `count` indices in the place of `size`.
struct Columns {
  int64_t outer = 1, size = 0, count = 0, inner = 1;
  int64_t elements() const { return outer * count * inner; }
};

Columns ColumnsOf(const NodeDesc& d) {
  const MemDesc& x = d.inputs[0];
  const int axis = AlongAxisOf(d);
  Columns c;
  for (int i = 0; i < axis; ++i) c.outer *= x.sizes[i];
  for (int i = axis + 1; i < x.rank; ++i) c.inner *= x.sizes[i];
  c.size = x.sizes[axis];
  c.count = d.inputs[1].sizes[axis];
  return c;
}

Support Supports(const NodeDesc& d) {
  const Support alike = NothingBroadcastsAlong(d);
  return alike.ok ? NeedsDense(d) : alike;
}

std::unique_ptr<KernelState> PrepareTake(const NodeDesc& d) {
  const Columns c = ColumnsOf(d);
  auto state = std::make_unique<OneLaunch<TakeAlongParams>>();
  state->file = "data/take_along_axis";
  state->function = StrCat("take_along_axis_", SizeOf(d.inputs[0].dtype));
  TakeAlongParams& p = state->params;
  p.elements = c.elements();
  p.count = c.count;
  p.inner = c.inner;
  p.law = LawOf(d.inputs[1], c.size);
  p.wide = p.elements >= int64_t{1} << 31 ? 1 : 0;
  if (p.wide == 0 && p.elements > 0) {
    p.by_inner = kernels::Divisor::Of(c.inner);
    p.by_count = kernels::Divisor::Of(c.count);
  }
  state->shape.grid[0] = GridFor(p.elements, 4, state->shape.block, *d.device);
  state->point = [](TakeAlongParams* q, void* const* ptrs) {
    q->x = ptrs[0];
    q->indices = ptrs[1];
    q->dst = ptrs[2];
  };
  return state;
}

std::string_view RuleOf(const NodeDesc& d) {
  const std::string_view reduce = d.attr<std::string>(AlongAxisAttr::kReduce);
  return reduce == "add" ? "sum" : reduce;
}

// Every element of x is a slice of its own, and so is every value.
ManyToOne AsElements(const NodeDesc& d) {
  const Columns c = ColumnsOf(d);
  ManyToOne what;
  what.rule = RuleOf(d);
  what.dtype = d.outputs[0].dtype;
  what.keys.elements = what.runs.count = c.elements();
  what.keys.count = c.count;
  what.keys.inner = c.inner;
  what.keys.law = LawOf(d.inputs[1], c.size);
  what.runs.size = c.outer * c.size * c.inner;
  return what;
}

// A column per thread: columns so many, or so short, that sorting does not pay.
bool WalksColumns(const NodeDesc& d) {
  const Columns c = ColumnsOf(d);
  return c.count <= 16 || c.outer * c.inner >= int64_t{64} * d.device->multiprocessors;
}

bool RoundsSums(const NodeDesc& d) {
  const DType t = d.outputs[0].dtype;
  return RuleOf(d) == "sum" && (t == DType::kFloat16 || t == DType::kBFloat16);
}

Support SupportsSorted(const NodeDesc& d) {
  if (WalksColumns(d) && !RoundsSums(d)) return Support::No("has columns enough to walk");
  const Support runs = SupportsRuns(AsElements(d));
  return runs.ok ? Supports(d) : runs;
}

Support SupportsColumns(const NodeDesc& d) {
  if (RoundsSums(d)) return Support::No("would round after every addition");
  return Supports(d);
}

std::unique_ptr<KernelState> PrepareSorted(const NodeDesc& d) {
  auto state = std::make_unique<Launches>();
  AddScatterCopy(state.get(), d);
  AddRuns(state.get(), d, AsElements(d), 1, 2);
  return state;
}

std::unique_ptr<KernelState> PrepareColumns(const NodeDesc& d) {
  const Columns c = ColumnsOf(d);
  auto state = std::make_unique<Launches>();
  AddScatterCopy(state.get(), d);
  if (c.elements() == 0) return state;
  PutAlongParams p;
  p.outer = c.outer;
  p.count = c.count;
  p.inner = c.inner;
  p.law = LawOf(d.inputs[1], c.size);
  p.wide = c.outer * c.inner >= int64_t{1} << 31 ? 1 : 0;
  if (p.wide == 0) p.by_inner = kernels::Divisor::Of(c.inner);
  LaunchShape shape;
  shape.grid[0] = GridFor(c.outer * c.inner, 1, shape.block, *d.device);
  const std::string_view rule = RuleOf(d);
  state
      ->Add("data/put_along_axis",
            StrCat("put_along_", rule, "_", RuleSuffix(rule, d.outputs[0].dtype)), shape, p)
      .Point(&PutAlongParams::indices, {1})
      .Point(&PutAlongParams::values, {2})
      .Point(&PutAlongParams::dst, {3});
  return state;
}

constexpr KernelDef Putting(std::string_view impl, Support (*supports)(const NodeDesc&),
                            std::unique_ptr<KernelState> (*prepare)(const NodeDesc&)) {
  return {.op = &ops::kPutAlongAxis,
          .impl = impl,
          .supports = supports,
          .prepare = prepare,
          .launch = RunMany,
          .alias_ok = [](const NodeDesc&, int, int in) { return in == 0; },
          .bind = BindMany};
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kTakeAlongAxis,
     .impl = "columns",
     .supports = Supports,
     .prepare = PrepareTake,
     .launch = RunOne<TakeAlongParams>,
     .bind = BindOne<TakeAlongParams>},
    Putting("sorted", SupportsSorted, PrepareSorted),
    Putting("columns", SupportsColumns, PrepareColumns),
};

}  // namespace

std::span<const KernelDef> AlongAxisKernels() { return kKernels; }

}  // namespace ostria::cuda
