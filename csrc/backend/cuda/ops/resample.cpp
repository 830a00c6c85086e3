// SPDX-License-Identifier: Apache-2.0
// Interpolation along one axis: the weights are made on the host, as the CPU's, and lie on the
// device from when the node is bound.
#include <cstring>
#include <limits>
#include <vector>

#include "backend/cuda/constants.h"
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/pool/pool.h"
#include "ops/common/resample.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::ResampleParams;

struct ResampleState final : KernelState {
  std::string function;
  LaunchShape shape;
  ResampleParams params;
  std::vector<std::byte> tables;  // first, count, then the weights from `weights_at` on
  size_t count_at = 0, weights_at = 0;
  std::vector<std::string> LaunchNames() const override { return {function}; }
};

struct BoundResample final : KernelState {
  std::shared_ptr<const ResampleState> plan;
  const CudaStream* stream = nullptr;
  CUfunction function = nullptr;
  std::unique_ptr<Constants> tables;
  ResampleParams params;
};

Support Supports(const NodeDesc& d) {
  if (d.outputs[0].numel() > std::numeric_limits<uint32_t>::max()) {
    return Support::No("2^32 elements or more");
  }
  return NeedsDense(d);
}

template <class To, class From>
size_t Append(std::vector<std::byte>* bytes, const std::vector<From>& from) {
  const size_t at = (bytes->size() + 15) / 16 * 16;
  bytes->resize(at + from.size() * sizeof(To));
  for (size_t i = 0; i < from.size(); ++i) {
    const To x = static_cast<To>(from[i]);
    std::memcpy(bytes->data() + at + i * sizeof(To), &x, sizeof x);
  }
  return at;
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  auto state = std::make_unique<ResampleState>();
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  const int axis = ops::Axis(d.attr<int64_t>(ops::ResampleAttr::kAxis), x.rank);
  ResampleParams& p = state->params;
  p.from = x.sizes[axis];
  p.to = y.sizes[axis];
  for (int i = 0; i < axis; ++i) p.outer *= x.sizes[i];
  for (int i = axis + 1; i < x.rank; ++i) p.inner *= x.sizes[i];
  const ops::Taps taps = ops::TapsOf(d.attrs, p.from);
  p.width = taps.width;
  Append<int32_t>(&state->tables, taps.first);
  state->count_at = Append<int32_t>(&state->tables, taps.count);
  state->weights_at = x.dtype == DType::kFloat64 ? Append<double>(&state->tables, taps.weights)
                                                 : Append<float>(&state->tables, taps.weights);
  state->function = StrCat("resample_", Suffix(x.dtype));
  state->shape.grid[0] = GridFor(y.numel(), 16 / SizeOf(y.dtype), state->shape.block, *d.device);
  return state;
}

std::unique_ptr<KernelState> Bind(const std::shared_ptr<const KernelState>& state,
                                  const BindContext& to) {
  auto bound = std::make_unique<BoundResample>();
  bound->plan = std::static_pointer_cast<const ResampleState>(state);
  const ResampleState& plan = *bound->plan;
  CudaDevice& device = StreamOf(to).cuda();
  bound->stream = &StreamOf(to);
  bound->function = device.Kernel("pool/resample", plan.function);
  bound->tables = std::make_unique<Constants>(device, plan.tables.data(), plan.tables.size());
  bound->params = plan.params;
  const auto* tables = static_cast<const char*>(bound->tables->data());
  bound->params.first = reinterpret_cast<const int32_t*>(tables);
  bound->params.count = reinterpret_cast<const int32_t*>(tables + plan.count_at);
  bound->params.weights = tables + plan.weights_at;
  return bound;
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BoundResample&>(state);
  ResampleParams params = s.params;
  params.src = ptrs[0];
  params.dst = ptrs[1];
  LaunchKernel(*s.stream, s.function, s.plan->shape, &params, sizeof params);
}

constexpr KernelDef kKernels[] = {{.op = &ops::kResample,
                                   .impl = "taps",
                                   .supports = Supports,
                                   .prepare = Prepare,
                                   .launch = Launch,
                                   .bind = Bind}};

}  // namespace

std::span<const KernelDef> ResampleKernels() { return kKernels; }

}  // namespace ostria::cuda
