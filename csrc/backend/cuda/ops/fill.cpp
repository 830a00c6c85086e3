// SPDX-License-Identifier: Apache-2.0
// Constants.
#include <cstring>

#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "core/dtype.h"
#include "core/tensor.h"
#include "kernels/fill/fill.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::FillParams;

constexpr int kValueAttr = 2;

std::unique_ptr<KernelState> PrepareFull(const NodeDesc& d) {
  const MemDesc& y = d.outputs[0];
  const Tensor value = Tensor::Scalar(y.dtype, d.attr<double>(kValueAttr));
  auto state = std::make_unique<OneLaunch<FillParams>>();
  state->file = "fill/fill";
  state->function = StrCat("fill_", SizeOf(y.dtype));
  state->params.elements = y.numel();
  std::memcpy(&state->params.bits, value.raw(), static_cast<size_t>(SizeOf(y.dtype)));
  state->shape.grid[0] = GridFor(y.numel(), 64 / SizeOf(y.dtype), state->shape.block, *d.device);
  state->point = [](FillParams* p, void* const* ptrs) { p->dst = ptrs[0]; };
  return state;
}

constexpr KernelDef kKernels[] = {{.op = &ops::kFull,
                                   .impl = "fill",
                                   .supports = NeedsDense,
                                   .prepare = PrepareFull,
                                   .launch = RunOne<FillParams>,
                                   .bind = BindOne<FillParams>}};

}  // namespace

std::span<const KernelDef> FillKernels() { return kKernels; }

std::string_view Suffix(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return "f16";
    case DType::kBFloat16: return "bf16";
    case DType::kFloat32: return "f32";
    default: return "f64";
  }
}

Support NeedsDense(const NodeDesc& node) {
  for (const auto& operands : {node.inputs, node.outputs}) {
    for (const MemDesc& m : operands) {
      if (!m.is_dense()) return Support::No("needs dense operands");
    }
  }
  return Support::Yes();
}

}  // namespace ostria::cuda
