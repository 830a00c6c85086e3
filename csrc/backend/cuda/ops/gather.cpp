// SPDX-License-Identifier: Apache-2.0
// gather and gather_concat: rows of tables, and other tensors, copied to their places in the
// result; one launch for each source.
#include <algorithm>
#include <numeric>
#include <vector>

#include "backend/cuda/launch/indices.h"
#include "backend/cuda/launch/launches.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/rows/gather.h"
#include "ops/common/attr_index.h"
#include "ops/common/infer.h"
#include "ops/common/scatter.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::GatherParams;
using Ints = std::vector<int64_t>;

// `indices` is -1 where rows are not picked.
void AddSource(Launches* to, const NodeDesc& d, GatherParams p, int64_t offset, int x,
               int indices) {
  const int64_t element = SizeOf(d.outputs[0].dtype);
  p.lanes = kernels::LanesOfRow((p.row + 15) / 16);
  LaunchShape shape;
  shape.block = kernels::kGatherThreads;
  shape.grid[0] = GridFor(p.rows * p.lanes, 1, shape.block, *d.device, 32);
  auto launch = to->Add("rows/gather", StrCat("gather_", element), shape, p);
  launch.Point(&GatherParams::x, {x})
      .Point(&GatherParams::y, Place{static_cast<int>(d.inputs.size())} + offset);
  if (indices >= 0) launch.Point(&GatherParams::indices, {indices});
}

int64_t Product(const MemDesc& m, int from, int to) {
  return std::accumulate(m.sizes.data() + from, m.sizes.data() + std::max(from, to), int64_t{1},
                         std::multiplies<>());
}

std::unique_ptr<KernelState> PrepareGather(const NodeDesc& d) {
  auto state = std::make_unique<Launches>();
  const MemDesc& x = d.inputs[0];
  const int axis = ops::Axis(d.attr<int64_t>(ops::kScatterAxis), x.rank);
  GatherParams p;
  p.law = LawOf(d.inputs[1], x.sizes[axis]);
  p.count = d.inputs[1].numel();
  p.rows = p.block = Product(x, 0, axis) * p.count;
  p.row = p.row_step = Product(x, axis + 1, x.rank) * SizeOf(x.dtype);
  AddSource(state.get(), d, p, 0, 0, 1);
  return state;
}

Support SupportsJoined(const NodeDesc& d) {
  const int axis = ops::Axis(d.attr<int64_t>(ops::GatherConcatAttr::kAxis), d.outputs[0].rank);
  size_t part = 0;
  for (const int64_t is_gather : d.attr<Ints>(ops::GatherConcatAttr::kGathers)) {
    if (is_gather != 0 && axis > d.inputs[part + 1].rank) {
      return Support::No("joins pieces of rows along axis ", axis);
    }
    part += is_gather != 0 ? 2 : 1;
  }
  return NeedsDense(d);
}

std::unique_ptr<KernelState> PrepareJoined(const NodeDesc& d) {
  auto state = std::make_unique<Launches>();
  const MemDesc& y = d.outputs[0];
  const int axis = ops::Axis(d.attr<int64_t>(ops::GatherConcatAttr::kAxis), y.rank);
  const int64_t size = SizeOf(y.dtype);
  int64_t offset = 0;
  int input = 0;
  for (const int64_t is_gather : d.attr<Ints>(ops::GatherConcatAttr::kGathers)) {
    const MemDesc& x = d.inputs[input];
    GatherParams p;
    p.stride = Product(y, axis, y.rank) * size;
    if (is_gather != 0) {
      const MemDesc& ids = d.inputs[input + 1];
      p.law = LawOf(ids, x.sizes[0]);
      p.rows = p.count = ids.numel();
      p.row = p.row_step = Product(x, 1, x.rank) * size;
      p.block = Product(ids, axis, ids.rank);
    } else {
      p.rows = p.count = Product(x, 0, axis);
      p.row = Product(x, axis, x.rank) * size;
    }
    if (p.rows > 0 && p.row > 0) {
      AddSource(state.get(), d, p, offset, input, is_gather != 0 ? input + 1 : -1);
    }
    offset += p.block * p.row;
    input += is_gather != 0 ? 2 : 1;
  }
  return state;
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kGather,
     .impl = "rows",
     .supports = NeedsDense,
     .prepare = PrepareGather,
     .launch = RunMany,
     .bind = BindMany},
    {.op = &ops::kGatherConcat,
     .impl = "rows",
     .supports = SupportsJoined,
     .prepare = PrepareJoined,
     .launch = RunMany,
     .bind = BindMany},
};

}  // namespace

std::span<const KernelDef> GatherKernels() { return kKernels; }

}  // namespace ostria::cuda
