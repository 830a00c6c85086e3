// SPDX-License-Identifier: Apache-2.0
// Fused groups and single elementwise ops: loop programs, interpreted tile by tile. Every op that
// names a functor is listed here by itself; so a new one needs no line.
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/tile_program.h"
#include "backend/loop_node.h"
#include "base/check.h"
#include "loop/build.h"
#include "ops/common/scalar.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

struct LoopState final : KernelState {
  std::shared_ptr<const TileProgram> tiles;
};

struct Made {
  Body body;
  int threads = 0;
  std::shared_ptr<const TileProgram> tiles;  // null: `why`
  std::string why;
};

// supports, prepare and alias_ok are asked one after the other of the same node.
const Made& Make(const NodeDesc& d) {
  thread_local Made last;
  const Body& body = std::get<Body>(d.attrs[0]);
  if (last.body == body && last.threads == d.device->threads) return last;
  last = {.body = body, .threads = d.device->threads};
  if (const auto program = BuildLoop(*body, &last.why)) {
    if (auto tiles = MakeTiles(*program, d.device->threads, &last.why)) {
      last.tiles = std::make_shared<const TileProgram>(std::move(*tiles));
    }
  }
  return last;
}

Support Supports(const NodeDesc& d) {
  const Graph& body = *std::get<Body>(d.attrs[0]);
  for (NodeId n = body.first(); n.valid(); n = body.next(n)) {
    if (body.is(n, ops::kSlice)) return Support::No("reads rows that lie dense");
  }
  const Made& made = Make(d);
  return made.tiles != nullptr ? Support::Yes() : Support::No(made.why);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  auto state = std::make_unique<LoopState>();
  state->tiles = Make(d).tiles;
  state->workspace_bytes = WorkspaceBytes(*state->tiles);
  state->detail = OpNames(*std::get<Body>(d.attrs[0]));
  return state;
}

void Launch(const KernelState& state, void* const* ptrs) {
  RunTiles(*static_cast<const LoopState&>(state).tiles, ptrs);
}

bool AliasOk(const NodeDesc& d, int out, int in) {
  const Made& made = Make(d);
  return made.tiles != nullptr && made.tiles->alias_ok[out][in];
}

// --- single ops

Support SupportsOne(const NodeDesc& d) {
  const kernels::ScalarOp op = ops::ScalarCallOf(*d.op, d.attrs).op;
  const DType dtype = d.inputs.back().dtype;
  if (!ElementwiseSupports(op, dtype)) {
    return Support::No(kernels::Name(op), " is not defined for ", dtype);
  }
  return NeedsDense(d);
}

std::unique_ptr<KernelState> PrepareOne(const NodeDesc& d) {
  std::string why;
  const auto program = BuildLoop(BodyOf(d), &why);
  auto tiles = program ? MakeTiles(*program, d.device->threads, &why) : std::nullopt;
  OSTRIA_CHECK(tiles.has_value(), d.op->name, ": ", why);
  auto state = std::make_unique<LoopState>();
  state->workspace_bytes = WorkspaceBytes(*tiles);
  state->tiles = std::make_shared<const TileProgram>(std::move(*tiles));
  if (d.op->scalar) {
    const ops::ScalarCall call = ops::ScalarCallOf(*d.op, d.attrs);
    state->detail = StrCat(kernels::Name(call.op), ":", d.inputs.back().dtype);
  }
  return state;
}

// Element i is read before it is written, so equal sizes and equal bytes are enough.
bool OneAliasOk(const NodeDesc& d, int, int in) {
  const MemDesc &a = d.inputs[in], &y = d.outputs[0];
  return a.rank == y.rank && a.sizes == y.sizes && SizeOf(a.dtype) == SizeOf(y.dtype);
}

std::vector<KernelDef> Kernels() {
  std::vector<KernelDef> list = {{.op = &ops::kFused,
                                  .impl = "tiles",
                                  .supports = Supports,
                                  .prepare = Prepare,
                                  .launch = Launch,
                                  .alias_ok = AliasOk},
                                 {.op = &ops::kCast,
                                  .impl = "tiles",
                                  .supports = NeedsDense,
                                  .prepare = PrepareOne,
                                  .launch = Launch,
                                  .alias_ok = OneAliasOk}};
  for (const OpDef* op : ops::AllOps()) {
    if (!op->scalar) continue;
    list.push_back({.op = op,
                    .impl = "tiles",
                    .supports = SupportsOne,
                    .prepare = PrepareOne,
                    .launch = Launch,
                    .alias_ok = OneAliasOk});
  }
  return list;
}

}  // namespace

std::span<const KernelDef> LoopKernels() {
  static const std::vector<KernelDef> kernels = Kernels();
  return kernels;
}

}  // namespace ostria::cpu
