// SPDX-License-Identifier: Apache-2.0
// Fused groups: the loop program of the body, interpreted tile by tile.
#include "backend/cpu/kernels.h"
#include "backend/cpu/tile_program.h"
#include "loop/build.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

struct FusedState final : KernelState {
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
  const Made& made = Make(d);
  return made.tiles != nullptr ? Support::Yes() : Support::No(made.why);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  auto state = std::make_unique<FusedState>();
  state->tiles = Make(d).tiles;
  const TileProgram& p = *state->tiles;
  size_t steps = p.prologue.size();
  for (int l = 0; l < p.levels; ++l) steps += p.row_steps[l].size() + p.steps[l].size();
  state->workspace_bytes = WorkspaceBytes(p);
  state->detail = StrCat("tiles:", steps, " steps");
  return state;
}

void Launch(const KernelState& state, void* const* ptrs) {
  RunTiles(*static_cast<const FusedState&>(state).tiles, ptrs);
}

bool AliasOk(const NodeDesc& d, int out, int in) {
  const Made& made = Make(d);
  return made.tiles != nullptr && made.tiles->alias_ok[out][in];
}

constexpr KernelDef kKernels[] = {{.op = &ops::kFused,
                                   .impl = "tiles",
                                   .supports = Supports,
                                   .prepare = Prepare,
                                   .launch = Launch,
                                   .alias_ok = AliasOk}};

}  // namespace

std::span<const KernelDef> FusedKernels() { return kKernels; }

}  // namespace ostria::cpu
