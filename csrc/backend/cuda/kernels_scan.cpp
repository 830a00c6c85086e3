// SPDX-License-Identifier: Apache-2.0
// cumsum, cumprod and linear_scan. Columns are walked in the order of their elements, as on the
// CPU.
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "kernels/scan/scan.h"
#include "ops/common/scan.h"

namespace ostria::cuda {
namespace {

using kernels::ScanParams;

std::string_view NameOf(const OpDef* op) {
  return op == &ops::kCumsum ? "sum" : op == &ops::kCumprod ? "prod" : "linear";
}

// "float32"; integers of 64 bits are one, as both wrap around.
std::string_view NameOf(DType dtype) { return IsFloat(dtype) ? Name(dtype) : "64"; }

Support Supports(const NodeDesc& d) {
  const DType from = d.inputs[0].dtype, to = d.outputs[0].dtype;
  if (from != to) return Support::No("runs in ", from, ", not as ", to);
  return NeedsDense(d);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  const MemDesc& x = d.inputs[0];
  const int axis = ops::Axis(d.attr<int64_t>(ops::kScanAxis), x.rank);
  auto state = std::make_unique<OneLaunch<ScanParams>>();
  ScanParams& p = state->params;
  p.size = x.sizes[axis];
  for (int i = 0; i < axis; ++i) p.outer *= x.sizes[i];
  for (int i = axis + 1; i < x.rank; ++i) p.inner *= x.sizes[i];
  p.exclusive = d.attr<bool>(ops::kScanExclusive) ? 1 : 0;
  p.reverse = d.attr<bool>(ops::kScanReverse) ? 1 : 0;
  const bool lines = p.inner == 1;
  state->file = lines ? "scan/lines" : "scan/columns";
  state->function =
      StrCat("scan_", lines ? "lines" : "columns", "_", NameOf(d.op), "_", NameOf(x.dtype));
  state->shape.block = lines ? kernels::kScanLineThreads : kernels::kScanColumnThreads;
  state->shape.grid[0] = GridFor(p.outer * p.inner, 1, state->shape.block, *d.device);
  if (d.inputs.size() == 2) {
    state->point = [](ScanParams* q, void* const* ptrs) {
      q->a = ptrs[0];
      q->b = ptrs[1];
      q->dst = ptrs[2];
    };
  } else {
    state->point = [](ScanParams* q, void* const* ptrs) {
      q->a = ptrs[0];
      q->dst = ptrs[1];
    };
  }
  return state;
}

constexpr KernelDef Of(const OpDef& op) {
  return {.op = &op,
          .impl = "columns",
          .supports = Supports,
          .prepare = Prepare,
          .launch = RunOne<ScanParams>,
          .alias_ok = [](const NodeDesc&, int, int) { return true; },
          .bind = BindOne<ScanParams>};
}

constexpr KernelDef kKernels[] = {Of(ops::kCumsum), Of(ops::kCumprod), Of(ops::kLinearScan)};

}  // namespace

std::span<const KernelDef> ScanKernels() { return kKernels; }

}  // namespace ostria::cuda
