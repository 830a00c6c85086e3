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

// "add tanh multiply", at most eight of them: what explain() shows.
std::string OpNames(const Graph& body) {
  constexpr int kMost = 8;
  std::string out;
  int shown = 0;
  for (NodeId n = body.first(); n.valid(); n = body.next(n)) {
    if (body.num_operands(n) == 0 || body.op(n).traits.view) continue;
    if (shown++ < kMost) out += StrCat(out.empty() ? "" : " ", body.op(n).name);
  }
  return shown > kMost ? StrCat(out, " and ", shown - kMost, " more") : out;
}

Support Supports(const NodeDesc& d) {
  const Made& made = Make(d);
  return made.tiles != nullptr ? Support::Yes() : Support::No(made.why);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  auto state = std::make_unique<FusedState>();
  state->tiles = Make(d).tiles;
  state->workspace_bytes = WorkspaceBytes(*state->tiles);
  state->detail = OpNames(*std::get<Body>(d.attrs[0]));
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
