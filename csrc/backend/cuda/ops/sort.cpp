// SPDX-License-Identifier: Apache-2.0
// sort, argsort, top_k and searchsorted. What sorts a row depends on its length: a warp, a block,
// blocks that keep the first places of their tiles until one is left, or passes of a radix sort.
#include <limits>

#include "backend/cuda/launch/sort_launches.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/sort/sort.h"
#include "ops/common/sort.h"

namespace ostria::cuda {
namespace {

using kernels::KeyLaw;
using kernels::SearchParams;
using kernels::SortMoveParams;
using kernels::SortRowsParams;

KeyLaw LawOf(DType dtype, bool descending) {
  KeyLaw law;
  law.bytes = static_cast<int32_t>(SizeOf(dtype));
  if (KindOf(dtype) == DTypeKind::kSigned) law.kind = KeyLaw::kSigned;
  if (IsFloat(dtype)) law.kind = KeyLaw::kFloat;
  switch (dtype) {
    case DType::kFloat16: law.infinity = 0x7c00; break;
    case DType::kBFloat16: law.infinity = 0x7f80; break;
    case DType::kFloat32: law.infinity = 0x7f800000; break;
    case DType::kFloat64: law.infinity = 0x7ff0000000000000; break;
    default: break;
  }
  if (descending) law.flip = ~uint64_t{0} >> (64 - 8 * law.bytes);
  return law;
}

std::string KeySuffix(const KeyLaw& law) { return law.bytes <= 4 ? "_32" : "_64"; }

// Which results are asked for, as places; operand -1: not this one.
struct Results {
  Place values, indices;
  int64_t take = 0;  // of each row, from the front
};

struct Rows {
  int64_t count = 1, n = 0, inner = 1;
  KeyLaw law;
  int key_bytes() const { return law.bytes <= 4 ? 4 : 8; }
};

LaunchShape ShapeOf(int64_t blocks, unsigned block, const DeviceProps& device) {
  LaunchShape shape;
  shape.block = block;
  shape.grid[0] = GridFor(blocks, 1, 1, device, 64);
  return shape;
}

template <class Params>
void PointResults(Launches::Adding<Params> launch, const Results& to) {
  if (to.values.operand >= 0) launch.Point(&Params::values, to.values);
  if (to.indices.operand >= 0) launch.Point(&Params::indices, to.indices);
}

constexpr Place kX = {0, 0};

void AddOneBlockEach(Launches* state, const Rows& rows, const Results& to,
                     const DeviceProps& device) {
  SortRowsParams p;
  p.rows = rows.count;
  p.n = p.axis = rows.n;
  p.inner = rows.inner;
  p.take = to.take;
  p.law = rows.law;
  p.bits = 8 * rows.law.bytes;
  std::string function = "sort_rows_tile" + KeySuffix(rows.law);
  LaunchShape shape = ShapeOf(p.rows, kernels::kTileThreads, device);
  if (p.n <= kernels::kShortRow) {
    function = "sort_rows_short";
    shape = ShapeOf((p.rows + 7) / 8, 256, device);
  } else if (p.n <= kernels::kSmallThreads * kernels::kSmallItems) {
    function = "sort_rows_small" + KeySuffix(rows.law);
    shape.block = kernels::kSmallThreads;
  }
  auto launch = state->Add("sort/rows", function, shape, p);
  launch.Point(&SortRowsParams::x, kX);
  PointResults(launch, to);
}

// The first places of every tile, and so on with what is left.
void AddTournament(Launches* state, const Rows& rows, const Results& to, int64_t tile,
                   Place workspace, const DeviceProps& device) {
  SortRowsParams p;
  p.rows = rows.count;
  p.n = p.axis = rows.n;
  p.inner = rows.inner;
  p.take = to.take;
  p.law = rows.law;
  p.bits = 8 * rows.law.bytes;
  const auto bytes = [&](int64_t each) {
    return (p.rows * p.tiles * p.take * each + 255) / 256 * 256;
  };
  Place keys, positions, next = workspace;
  while (true) {
    p.tiles = (p.n + tile - 1) / tile;
    auto launch = state->Add("sort/rows", "sort_rows_tile" + KeySuffix(rows.law),
                             ShapeOf(p.rows * p.tiles, kernels::kTileThreads, device), p);
    launch.Point(&SortRowsParams::x, kX);
    if (keys.operand >= 0) {
      launch.Point(&SortRowsParams::keys, keys).Point(&SortRowsParams::positions, positions);
    }
    if (p.tiles == 1) {
      PointResults(launch, to);
      break;
    }
    keys = next;
    positions = keys + bytes(rows.key_bytes());
    next = positions + bytes(4);
    launch.Point(&SortRowsParams::dst_keys, keys).Point(&SortRowsParams::dst_positions, positions);
    p.n = p.tiles * p.take;
  }
  state->workspace_bytes = next.offset;
}

void AddRadixSort(Launches* state, const Rows& rows, const Results& to, Place workspace,
                  const DeviceProps& device) {
  SortMoveParams move;
  move.rows = rows.count;
  move.n = rows.n;
  move.inner = rows.inner;
  move.take = to.take;
  move.law = rows.law;
  const KeyRows what{rows.count, rows.n, rows.key_bytes(), 8 * rows.law.bytes};
  const Place keys = workspace + SortWorkspace(what);
  state->workspace_bytes = keys.offset + rows.count * rows.n * rows.key_bytes();
  LaunchShape shape;
  shape.grid[0] = GridFor(rows.count * rows.n, 4, shape.block, device);
  state->Add("sort/move", "sort_keys" + KeySuffix(rows.law), shape, move)
      .Point(&SortMoveParams::x, kX)
      .Point(&SortMoveParams::keys, keys);
  const Sorted sorted = AddSort(state, what, keys, workspace, device);
  auto launch = state->Add("sort/move", "sort_take", shape, move);
  launch.Point(&SortMoveParams::x, kX).Point(&SortMoveParams::positions, sorted.positions);
  PointResults(launch, to);
}

Support SupportsSort(const NodeDesc& d) {
  if (d.inputs[0].numel() > std::numeric_limits<int32_t>::max()) {
    return Support::No("more than 2^31 - 1 elements");
  }
  return NeedsDense(d);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d, int64_t axis_attr, bool descending,
                                     Results to) {
  auto state = std::make_unique<Launches>();
  const MemDesc& x = d.inputs[0];
  const int axis = ops::Axis(axis_attr, x.rank);
  Rows rows;
  rows.n = x.sizes[axis];
  rows.law = LawOf(x.dtype, descending);
  for (int i = 0; i < x.rank; ++i) {
    if (i != axis) rows.count *= x.sizes[i];
    if (i > axis) rows.inner *= x.sizes[i];
  }
  to.take = d.outputs[0].sizes[axis];
  const int64_t tile = kernels::kTileThreads *
                       (rows.key_bytes() == 4 ? kernels::kTileItems32 : kernels::kTileItems64);
  const Place workspace{1 + static_cast<int>(d.outputs.size()), 0};
  if (rows.n <= tile) {
    AddOneBlockEach(state.get(), rows, to, *d.device);
    state->detail = rows.n <= kernels::kShortRow ? "counting" : "block";
  } else if (to.take <= tile / 4) {
    AddTournament(state.get(), rows, to, tile, workspace, *d.device);
    state->detail = "tournament";
  } else {
    AddRadixSort(state.get(), rows, to, workspace, *d.device);
    state->detail = "radix";
  }
  return state;
}

std::unique_ptr<KernelState> PrepareSort(const NodeDesc& d) {
  Results to;
  (d.op == &ops::kSort ? to.values : to.indices) = {1, 0};
  return Prepare(d, d.attr<int64_t>(ops::kSortAxis), d.attr<bool>(ops::kSortDescending), to);
}

std::unique_ptr<KernelState> PrepareTopK(const NodeDesc& d) {
  Results to;
  to.values = {1, 0};
  to.indices = {2, 0};
  return Prepare(d, d.attr<int64_t>(ops::TopKAttr::kAxis), d.attr<bool>(ops::TopKAttr::kLargest),
                 to);
}

std::unique_ptr<KernelState> PrepareSearch(const NodeDesc& d) {
  auto state = std::make_unique<OneLaunch<SearchParams>>();
  SearchParams& p = state->params;
  p.law = LawOf(d.inputs[0].dtype, false);
  p.n = d.inputs[0].numel();
  p.count = d.inputs[1].numel();
  p.right = d.attr<std::string>(ops::SearchAttr::kSide) == "right" ? 1 : 0;
  state->file = "sort/move";
  state->function = "search" + KeySuffix(p.law);
  state->shape.grid[0] = GridFor(p.count, 1, state->shape.block, *d.device);
  state->point = [](SearchParams* params, void* const* ptrs) {
    params->x = ptrs[0];
    params->values = ptrs[1];
    params->dst = static_cast<int64_t*>(ptrs[2]);
  };
  return state;
}

constexpr KernelDef Sorting(const OpDef& op,
                            std::unique_ptr<KernelState> (*prepare)(const NodeDesc&)) {
  return {.op = &op,
          .impl = "keys",
          .supports = SupportsSort,
          .prepare = prepare,
          .launch = RunMany,
          .bind = BindMany};
}

constexpr KernelDef kKernels[] = {
    Sorting(ops::kSort, PrepareSort),
    Sorting(ops::kArgsort, PrepareSort),
    Sorting(ops::kTopK, PrepareTopK),
    {.op = &ops::kSearchsorted,
     .impl = "bisection",
     .supports = NeedsDense,
     .prepare = PrepareSearch,
     .launch = RunOne<SearchParams>,
     .bind = BindOne<SearchParams>},
};

}  // namespace

std::span<const KernelDef> SortKernels() { return kKernels; }

}  // namespace ostria::cuda
