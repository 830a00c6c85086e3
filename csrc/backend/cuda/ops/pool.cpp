// SPDX-License-Identifier: Apache-2.0
// Pools and their gradients: kernels/pool, one launch each. cuDNN's come second: all its engines
// for them are compiled when a plan is first built, which takes seconds.
#include "kernels/pool/pool.h"
#include "backend/cuda/cudnn/run.h"
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/launch/window.h"
#include "backend/cuda/ops/kernels.h"
#include "ops/common/pool.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::PoolParams;

Support Supports(const NodeDesc& d) { return SupportsWindow(d, ops::PoolWindow(d.attrs)); }

std::unique_ptr<OneLaunch<PoolParams>> Make(const NodeDesc& d, const MemDesc& image,
                                            const MemDesc& result, std::string_view function) {
  const MemDesc& dst = d.outputs[0];
  auto state = std::make_unique<OneLaunch<PoolParams>>();
  state->file = "pool/pool";
  state->function = StrCat(function, "_", Suffix(dst.dtype));
  state->params.window = WindowShapeOf(ops::PoolWindow(d.attrs), image, result);
  state->shape.grid[0] =
      GridFor(dst.numel(), 16 / SizeOf(dst.dtype), state->shape.block, *d.device);
  return state;
}

int32_t IsWide(const MemDesc& index) { return index.dtype == DType::kUInt8 ? 0 : 1; }

std::unique_ptr<KernelState> PrepareMax(const NodeDesc& d) {
  auto state = Make(d, d.inputs[0], d.outputs[0], "max_pool");
  state->params.wide_index = IsWide(d.outputs[1]);
  state->point = [](PoolParams* p, void* const* ptrs) {
    p->src = ptrs[0];
    p->dst = ptrs[1];
    p->index = ptrs[2];
  };
  return state;
}

std::unique_ptr<KernelState> PrepareMaxGrad(const NodeDesc& d) {
  auto state = Make(d, d.outputs[0], d.inputs[0], "max_pool_grad");
  state->params.wide_index = IsWide(d.inputs[1]);
  state->point = [](PoolParams* p, void* const* ptrs) {
    p->src = ptrs[0];
    p->index = ptrs[1];
    p->dst = ptrs[2];
  };
  return state;
}

void PointAverage(PoolParams* p, void* const* ptrs) {
  p->src = ptrs[0];
  p->dst = ptrs[1];
}
std::unique_ptr<KernelState> PrepareAverage(const NodeDesc& d) {
  auto state = Make(d, d.inputs[0], d.outputs[0], "avg_pool");
  state->point = PointAverage;
  return state;
}
std::unique_ptr<KernelState> PrepareAverageGrad(const NodeDesc& d) {
  auto state = Make(d, d.outputs[0], d.inputs[0], "avg_pool_grad");
  state->point = PointAverage;
  return state;
}

constexpr uint32_t kIndexIsOptional = 1u << 1;

constexpr KernelDef Pooling(const OpDef& op,
                            std::unique_ptr<KernelState> (*prepare)(const NodeDesc&),
                            uint32_t optional_outputs = 0) {
  return {.op = &op,
          .impl = "channels",
          .supports = Supports,
          .prepare = prepare,
          .launch = RunOne<PoolParams>,
          .optional_outputs = optional_outputs,
          .bind = BindOne<PoolParams>};
}

constexpr KernelDef kKernels[] = {
    Pooling(ops::kMaxPool1d, PrepareMax, kIndexIsOptional),
    Pooling(ops::kMaxPool2d, PrepareMax, kIndexIsOptional),
    Pooling(ops::kMaxPool3d, PrepareMax, kIndexIsOptional),
    Pooling(ops::kAvgPool1d, PrepareAverage),
    Pooling(ops::kAvgPool2d, PrepareAverage),
    Pooling(ops::kAvgPool3d, PrepareAverage),
    Pooling(ops::kMaxPoolGrad, PrepareMaxGrad),
    Pooling(ops::kAvgPoolGrad, PrepareAverageGrad),
    CudnnKernel<DescribePool>(&ops::kMaxPool1d),
    CudnnKernel<DescribePool>(&ops::kMaxPool2d),
    CudnnKernel<DescribePool>(&ops::kMaxPool3d),
    CudnnKernel<DescribePool>(&ops::kAvgPool1d),
    CudnnKernel<DescribePool>(&ops::kAvgPool2d),
    CudnnKernel<DescribePool>(&ops::kAvgPool3d),
    CudnnKernel<DescribePool>(&ops::kMaxPoolGrad),
    CudnnKernel<DescribePool>(&ops::kAvgPoolGrad),
};

}  // namespace

std::span<const KernelDef> PoolKernels() { return kKernels; }

}  // namespace ostria::cuda
