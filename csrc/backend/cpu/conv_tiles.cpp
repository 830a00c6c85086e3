// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/conv_tiles.h"

#include <algorithm>

#include "backend/cpu/conv_desc.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/simd/conv_table.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "base/parallel.h"

namespace ostria::cpu {
namespace {

// Of packed image: with the grad of the same places it stays in a level-2 cache of 1 MB.
constexpr int64_t kBlockBytes = 256 << 10;

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

const ConvTable& Table() {
  return CurrentIsa() == Isa::kAvx512 ? kConvAvx512
         : CurrentIsa() == Isa::kAvx2 ? kConvAvx2
                                      : kConvBaseline;
}

int64_t Units(const ConvDesc& d, const ConvTable& table) {
  return RoundUp(d.o, table.outputs) / table.outputs * d.window.size[1];
}

struct FilterState : KernelState {
  const ConvTable* table = nullptr;
  FilterGradArgs args = {};
  int64_t units = 0, shares = 1;
  int64_t share_floats = 0;  // of the workspace
};

}  // namespace

Support SupportsFilterTiles(const NodeDesc& node) {
  if (Support s = NeedsDense(node); !s.ok) return s;
  const ConvDesc d = DescribeConv(node);
  const ConvTable& table = Table();
  if (d.dtype != DType::kFloat32) return Support::No("is for float32, not ", d.dtype);
  if (table.lanes == 1) return Support::No("needs AVX2");
  if (d.groups != 1) return Support::No("is for one group, not ", d.groups);
  if (d.dims > 2) return Support::No("is for images, not volumes");
  if (d.window.size[2] == 1) return Support::No("is for windows wider than 1");
  if (d.c < 2 * table.lanes || 4 * d.c < 3 * RoundUp(d.c, table.lanes)) {
    return Support::No("wants channels in vectors of ", table.lanes, ", at least two, not ", d.c);
  }
  if (4 * d.o < 3 * RoundUp(d.o, table.outputs)) {
    return Support::No("wants filters in tiles of ", table.outputs, ", not ", d.o);
  }
  const int threads = onednn::ThreadsFor(node, d.flops());
  const int64_t units = Units(d, table);
  if (units < threads) return Support::No("has work for ", units, " threads, not ", threads);
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
  for (int i = 0; i < 2; ++i) {
    a.size[i] = d.image[i + 1];
    a.result[i] = d.result[i + 1];
    a.window[i] = d.window.size[i + 1];
    a.stride[i] = d.window.stride[i + 1];
    a.dilation[i] = d.window.dilation[i + 1];
    a.low[i] = d.window.low[i + 1];
  }
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

}  // namespace ostria::cpu
