// SPDX-License-Identifier: Apache-2.0
// Images with few channels, and weights of sizes that no vector divides, get more while they are
// cast.
#include "kernels/shape/pad_channels.h"
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::PadChannelsParams;

Support Supports(const NodeDesc& d) {
  const DType from = d.inputs[0].dtype, to = d.outputs[0].dtype;
  if (SizeOf(to) > 4 || (from != to && from != DType::kFloat32)) {
    return Support::No("casts float32, and what has 16 bits stays as it is");
  }
  return NeedsDense(d);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  auto state = std::make_unique<OneLaunch<PadChannelsParams>>();
  state->file = "shape/pad_channels";
  state->function = StrCat("pad_channels_", Suffix(x.dtype), "_", Suffix(y.dtype));
  state->params.from = x.sizes[x.rank - 1];
  state->params.to = y.sizes[y.rank - 1];
  state->params.rows = y.numel() / state->params.to;
  state->shape.block = kernels::kPadThreads;
  const int64_t vector = 16 / SizeOf(y.dtype);
  const int64_t elements = state->params.to % vector == 0 ? vector : 1;  // of a thread
  state->shape.grid[0] = GridFor(y.numel(), elements, state->shape.block, *d.device);
  state->point = [](PadChannelsParams* p, void* const* ptrs) {
    p->src = ptrs[0];
    p->dst = ptrs[1];
  };
  return state;
}

constexpr KernelDef kKernels[] = {{.op = &ops::kPadChannels,
                                   .impl = "rows",
                                   .supports = Supports,
                                   .prepare = Prepare,
                                   .launch = RunOne<PadChannelsParams>,
                                   .bind = BindOne<PadChannelsParams>}};

}  // namespace

std::span<const KernelDef> PadChannelsKernels() { return kKernels; }

}  // namespace ostria::cuda
