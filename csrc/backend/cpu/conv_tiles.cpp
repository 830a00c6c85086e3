// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/conv_tiles.h"

#include <algorithm>

#include "backend/cpu/conv_desc.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/simd/conv_table.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "base/parallel.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

// Of packed image: with the grad of the same places it stays in a level-2 cache of 1 MB.
constexpr int64_t kBlockBytes = 256 << 10;

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

const ConvTable& Table() { return OfCurrentIsa(kConvBaseline, kConvAvx2, kConvAvx512); }

int64_t Units(const ConvDesc& d, const ConvTable& table) {
  return RoundUp(d.o, table.outputs) / table.outputs * d.window.size[1];
}

struct FilterState : KernelState {
  const ConvTable* table = nullptr;
  FilterGradArgs args = {};
  int64_t units = 0, shares = 1;
  int64_t share_floats = 0;  // of the workspace
};

struct PlacesState : KernelState {
  const ConvTable* table = nullptr;
  PlacesArgs args = {};
  int64_t groups = 0, units = 0, shares = 1;
  int64_t packed_floats = 0, share_floats = 0;  // of the workspace
};

}  // namespace

Support SupportsFilterTiles(const NodeDesc& node) {
  const ConvDesc d = DescribeConv(node);
  const ConvTable& table = Table();
  if (Support s = SupportsOwnConv(node, d, table.lanes); !s.ok) return s;
  if (d.window.size[2] == 1) return Support::No("is for windows wider than 1");
  if (d.c < 2 * table.lanes || 4 * d.c < 3 * RoundUp(d.c, table.lanes)) {
    return Support::No("wants channels in vectors of ", table.lanes, ", at least two, not ", d.c);
  }
  if (4 * d.o < 3 * RoundUp(d.o, table.outputs)) {
    return Support::No("wants filters in tiles of ", table.outputs, ", not ", d.o);
  }
  return Support::Yes();
}

std::unique_ptr<KernelState> PrepareFilterTiles(const NodeDesc& node) {
  const ConvDesc d = DescribeConv(node);
  auto state = std::make_unique<FilterState>();
  state->table = &Table();
  state->detail = Name(CurrentIsa());
  FilterGradArgs& a = state->args;
  a.n = d.n;
  a.c = d.c;
  a.o = d.o;
  CopyPlane(d.image, a.size);
  CopyPlane(d.result, a.result);
  CopyPlane(d.window.size, a.window);
  CopyPlane(d.window.stride, a.stride);
  CopyPlane(d.window.dilation, a.dilation);
  CopyPlane(d.window.low, a.low);
  const int64_t channels = std::min(RoundUp(d.c, state->table->lanes), kConvChunk);
  const int64_t places = kBlockBytes / (4 * channels), image = a.size[0] * a.size[1];
  a.block_lines = a.result[0];
  a.block_images = std::clamp<int64_t>(places / image, 1, d.n);
  if (image > places) {
    a.block_lines = std::clamp<int64_t>(places / (a.size[1] * a.stride[0]), 1, a.result[0]);
  }
  state->units = Units(d, *state->table);
  state->shares = std::min<int64_t>(onednn::ThreadsFor(node, d.flops()), state->units);
  const int64_t in_lines = std::min(
      a.size[0], (a.block_lines - 1) * a.stride[0] + (a.window[0] - 1) * a.dilation[0] + 1);
  // A share may begin and end inside the lines of one output block.
  const int64_t blocks =
      std::min((state->units / state->shares + 1) / a.window[0] + 2, state->units / a.window[0]);
  const int64_t grad = a.block_lines * a.result[1] * blocks * state->table->outputs;
  state->share_floats = RoundUp(a.block_images * (in_lines * a.size[1] * channels + grad), 64);
  state->workspace_bytes = 4 * state->shares * state->share_floats;
  return state;
}

void LaunchFilterTiles(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const FilterState&>(state);
  FilterGradArgs args = s.args;
  args.image = static_cast<const float*>(ptrs[0]);
  args.grad = static_cast<const float*>(ptrs[1]);
  args.kernel = static_cast<float*>(ptrs[2]);
  float* const scratch = static_cast<float*>(ptrs[3]);
  ParallelFor(s.shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      s.table->filter_grad(args, s.units * i / s.shares, s.units * (i + 1) / s.shares,
                           scratch + i * s.share_floats);
    }
  });
}

Support SupportsPlaces(const NodeDesc& node) {
  // Measured: beyond these sizes what borders cost is less than what packing does.
  constexpr int64_t kMostPlaces = 64, kLeastChannels = 128;
  const ConvDesc d = DescribeConv(node);
  const ConvTable& table = Table();
  if (Support s = SupportsOwnConv(node, d, table.lanes); !s.ok) return s;
  const int64_t image = d.image[1] * d.image[2], result = d.result[1] * d.result[2];
  if (std::max(image, result) > kMostPlaces || std::min(image, result) == kMostPlaces) {
    return Support::No("is for images of at most ", kMostPlaces, " places and results of fewer");
  }
  if (std::min(d.c, d.o) < kLeastChannels) {
    return Support::No("is for at least ", kLeastChannels, " channels and filters");
  }
  if (4 * d.n < 3 * RoundUp(d.n, table.images)) {
    return Support::No("wants images in groups of ", table.images, ", not ", d.n);
  }
  const bool backward = node.op == &ops::kConvGradInput;
  if (!backward && d.window.positions() == 1) {
    return Support::No("is for windows of several elements, where it goes forward");
  }
  return Support::Yes();
}

std::unique_ptr<KernelState> PreparePlaces(const NodeDesc& node) {
  const ConvDesc d = DescribeConv(node);
  auto state = std::make_unique<PlacesState>();
  const ConvTable& table = Table();
  state->table = &table;
  state->detail = Name(CurrentIsa());
  PlacesArgs& a = state->args;
  a.backward = node.op == &ops::kConvGradInput;
  a.n = d.n;
  a.k = a.backward ? d.o : d.c;
  a.width = a.backward ? d.c : d.o;
  CopyPlane(a.backward ? d.result : d.image, a.from);
  CopyPlane(a.backward ? d.image : d.result, a.to);
  CopyPlane(d.window.size, a.window);
  CopyPlane(d.window.stride, a.stride);
  CopyPlane(d.window.dilation, a.dilation);
  CopyPlane(d.window.low, a.low);
  state->groups = RoundUp(d.n, table.images) / table.images;
  state->units = state->groups * (RoundUp(a.width, table.columns) / table.columns);
  state->shares = std::min<int64_t>(onednn::ThreadsFor(node, d.flops()), state->units);
  state->packed_floats = RoundUp(state->groups * table.images * a.from[0] * a.from[1] * a.k, 64);
  state->share_floats = RoundUp(a.window[1] * a.k * table.columns, 64);
  state->workspace_bytes = 4 * (state->packed_floats + state->shares * state->share_floats);
  return state;
}

void LaunchPlaces(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const PlacesState&>(state);
  PlacesArgs args = s.args;
  args.source = static_cast<const float*>(ptrs[0]);
  args.kernel = static_cast<const float*>(ptrs[1]);
  args.out = static_cast<float*>(ptrs[2]);
  args.packed = static_cast<float*>(ptrs[3]);
  const int64_t places = s.groups * args.from[0] * args.from[1];
  ParallelFor(places, s.shares == 1 ? places : 1,
              [&](int64_t begin, int64_t end) { s.table->pack_places(args, begin, end); });
  float* const scratch = args.packed + s.packed_floats;
  ParallelFor(s.shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      s.table->places(args, s.units * i / s.shares, s.units * (i + 1) / s.shares,
                      scratch + i * s.share_floats);
    }
  });
}

}  // namespace ostria::cpu
