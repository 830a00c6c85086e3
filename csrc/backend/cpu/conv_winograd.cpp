// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/conv_winograd.h"

#include <algorithm>
#include <numeric>

#include "backend/cpu/conv_desc.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/winograd_table.h"
#include "base/parallel.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

// Of a block's frequencies: with a panel of the kernel they stay in a level-2 cache of 1 MB.
constexpr int64_t kBlockBytes = 256 << 10;
constexpr int64_t kLines = 4;  // of frequencies

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

const WinogradTable& Table() {
  return OfCurrentIsa(kWinogradBaseline, kWinogradAvx2, kWinogradAvx512);
}

Support SupportsDesc(const NodeDesc& node, const ConvDesc& d) {
  constexpr int64_t kLeastChannels = 32;
  if (Support s = SupportsOwnConv(node, d, Table().lanes); !s.ok) return s;
  if (d.dims != 2) return Support::No("is for images");
  for (int i = 1; i < 3; ++i) {
    if (d.window.size[i] != 3) return Support::No("is for windows of 3 x 3");
    if (d.window.stride[i] != 1) return Support::No("is for stride 1");
    if (d.window.dilation[i] != 1) return Support::No("is for dilation 1");
  }
  if (std::min(d.c, d.o) < kLeastChannels) {
    return Support::No("is for at least ", kLeastChannels, " channels and filters");
  }
  return Support::Yes();
}

WinogradTiles TilesOf(const ConvDesc& d, bool backward) {
  WinogradTiles t = {};
  t.n = d.n;
  t.k = backward ? d.o : d.c;
  CopyPlane(backward ? d.result : d.image, t.from);
  CopyPlane(backward ? d.image : d.result, t.to);
  CopyPlane(d.window.low, t.low);
  for (int i = 0; i < 2; ++i) {
    if (backward) t.low[i] = 2 - t.low[i];
    t.tiles[i] = (t.to[i] + 1) / 2;
  }
  return t;
}

int64_t Count(const WinogradTiles& t) { return t.n * t.tiles[0] * t.tiles[1]; }

constexpr int64_t kLeastResults = 192;

// Refuses fewer results than `least`, where those that a tile computes in vain count against it.
Support WantsResults(const WinogradTiles& t, int64_t least) {
  const int64_t results = t.n * t.to[0] * t.to[1];
  const double useful = static_cast<double>(results) / static_cast<double>(4 * Count(t));
  if (useful * static_cast<double>(results) >= static_cast<double>(least)) return Support::Yes();
  return Support::No("is for more results than ", results, " of ", t.to[0], " x ", t.to[1],
                     " in tiles of 2 x 2");
}

struct WinogradState : KernelState {
  const WinogradTable* table = nullptr;
  WinogradArgs args = {};
  WinogradKernelArgs kernel = {};
  bool has_bias = false, has_addend = false;
  int64_t panels = 0, packed_floats = 0;  // in the workspace, unless the kernel lasts
  int64_t shares = 1, share_floats = 0;
};

struct WinogradGradState : KernelState {
  const WinogradTable* table = nullptr;
  WinogradGradArgs args = {};
  int64_t splits = 1, shares = 1;  // of the outputs; threads
  int64_t sum_floats = 0, share_floats = 0;
};

}  // namespace

Support SupportsWinograd(const NodeDesc& node) {
  const ConvDesc d = DescribeConv(node);
  if (Support s = SupportsDesc(node, d); !s.ok) return s;
  if (d.activation != ops::Activation::kNone && d.activation != ops::Activation::kRelu) {
    return Support::No("does relu, not ", ops::Name(d.activation));
  }
  // Measured: what transforming the kernel costs, unless that is done once.
  constexpr int64_t kFew = 32 * 64, kMany = 128 * 128;
  const int64_t pairs = d.c * d.o;
  const int64_t least = node.Lasts(1)   ? kLeastResults
                        : pairs > kMany ? 520
                        : pairs < kFew  ? 1024
                                        : kLeastResults;
  return WantsResults(TilesOf(d, node.op == &ops::kConvGradInput), least);
}

std::unique_ptr<KernelState> PrepareWinograd(const NodeDesc& node) {
  const ConvDesc d = DescribeConv(node);
  auto state = std::make_unique<WinogradState>();
  const WinogradTable& table = Table();
  state->table = &table;
  state->detail = Name(CurrentIsa());
  const bool backward = node.op == &ops::kConvGradInput;
  WinogradArgs& a = state->args;
  a.t = TilesOf(d, backward);
  a.width = backward ? d.c : d.o;
  state->has_bias = d.has_bias;
  state->has_addend = d.has_addend;
  a.relu = d.activation == ops::Activation::kRelu;
  state->kernel = {nullptr, nullptr, a.t.k, a.width, backward};
  state->panels = RoundUp(a.width, table.columns) / table.columns;
  state->packed_floats = state->panels * table.panel(a.t.k);
  const int64_t tiles = Count(a.t);
  state->shares = std::min<int64_t>(onednn::ThreadsFor(node, d.flops()), tiles);
  const int64_t share = (tiles + state->shares - 1) / state->shares;
  const int64_t tile_bytes = 4 * (table.scratch(a.t.k, 2) - table.scratch(a.t.k, 1));
  const int64_t groups = std::max<int64_t>(1, kBlockBytes / tile_bytes / table.rows);
  a.block = std::min(share, groups * table.rows);
  state->share_floats = RoundUp(table.scratch(a.t.k, a.block), 64);
  state->workspace_bytes = 4 * state->shares * state->share_floats;
  if (node.Lasts(1)) {
    state->packed_input = 1;
    state->packed_bytes = 4 * state->packed_floats;
    state->packed_floats = 0;
  }
  state->workspace_bytes += 4 * state->packed_floats;
  return state;
}

void PackWinograd(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const WinogradState&>(state);
  WinogradKernelArgs args = s.kernel;
  args.kernel = static_cast<const float*>(ptrs[0]);
  args.packed = static_cast<float*>(ptrs[1]);
  ParallelFor(s.panels, s.shares == 1 ? s.panels : 1,
              [&](int64_t begin, int64_t end) { s.table->pack(args, begin, end); });
}

void LaunchWinograd(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const WinogradState&>(state);
  WinogradArgs args = s.args;
  args.source = static_cast<const float*>(*ptrs++);
  const float* const kernel = static_cast<const float*>(*ptrs++);
  if (s.has_bias) args.bias = static_cast<const float*>(*ptrs++);
  if (s.has_addend) args.addend = static_cast<const float*>(*ptrs++);
  args.out = static_cast<float*>(*ptrs++);
  float* scratch = static_cast<float*>(*ptrs);
  args.packed = kernel;
  if (s.packed_input < 0) {
    void* const pack[] = {const_cast<float*>(kernel), scratch};
    PackWinograd(state, pack);
    args.packed = scratch;
    scratch += s.packed_floats;
  }
  const int64_t tiles = Count(args.t);
  ParallelFor(s.shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      s.table->run(args, tiles * i / s.shares, tiles * (i + 1) / s.shares,
                   scratch + i * s.share_floats);
    }
  });
}

Support SupportsWinogradGrad(const NodeDesc& node) {
  constexpr int64_t kLeastPairs = 32 * 64;  // measured
  const ConvDesc d = DescribeConv(node);
  if (Support s = SupportsDesc(node, d); !s.ok) return s;
  if (d.c * d.o < kLeastPairs) return Support::No("is for more channels and filters");
  return WantsResults(TilesOf(d, false), kLeastResults);
}

std::unique_ptr<KernelState> PrepareWinogradGrad(const NodeDesc& node) {
  const ConvDesc d = DescribeConv(node);
  auto state = std::make_unique<WinogradGradState>();
  const WinogradTable& table = Table();
  state->table = &table;
  state->detail = Name(CurrentIsa());
  WinogradGradArgs& a = state->args;
  a.t = TilesOf(d, false);
  a.o = d.o;
  // Threads take lines of frequencies; where those do not go up in threads, parts of the outputs.
  const int64_t parts = RoundUp(d.o, table.lanes) / table.lanes;
  state->shares = onednn::ThreadsFor(node, d.flops());
  state->splits = std::min(parts, state->shares / std::gcd(state->shares, kLines));
  state->shares = std::min(state->shares, kLines * state->splits);
  const int64_t outputs = (parts + state->splits - 1) / state->splits * table.lanes;
  // By sizes alone: the order of sums does not depend on the number of threads.
  const int64_t fits = kBlockBytes / (4 * kLines * (a.t.k + a.o));
  a.block = std::min(Count(a.t), std::clamp<int64_t>(fits, 64, 256));
  state->sum_floats = kFrequencies * RoundUp(d.o, table.lanes) * RoundUp(d.c, 2 * table.lanes);
  state->share_floats = RoundUp(table.grad_scratch(a.t.k, outputs, a.block), 64);
  state->workspace_bytes = 4 * (state->sum_floats + state->shares * state->share_floats);
  return state;
}

void LaunchWinogradGrad(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const WinogradGradState&>(state);
  WinogradGradArgs args = s.args;
  args.image = static_cast<const float*>(ptrs[0]);
  args.grad = static_cast<const float*>(ptrs[1]);
  args.kernel = static_cast<float*>(ptrs[2]);
  args.sums = static_cast<float*>(ptrs[3]);
  float* const scratch = args.sums + s.sum_floats;
  const int64_t lanes = s.table->lanes, parts = RoundUp(args.o, lanes) / lanes;
  const int64_t units = kLines * s.splits;
  ParallelFor(s.shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t stop = units * (i + 1) / s.shares;
      for (int64_t u = units * i / s.shares, last; u < stop; u = last) {
        last = std::min(stop, (u / kLines + 1) * kLines);
        const int64_t part = u / kLines, line = u % kLines;
        s.table->grad_sums(args, line, line + last - u, parts * part / s.splits * lanes,
                           parts * (part + 1) / s.splits * lanes, scratch + i * s.share_floats);
      }
    }
  });
  ParallelFor(args.o, s.shares == 1 ? args.o : 8,
              [&](int64_t begin, int64_t end) { s.table->grad_kernel(args, begin, end); });
}

}  // namespace ostria::cpu
