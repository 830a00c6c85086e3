// SPDX-License-Identifier: Apache-2.0
// Interpolation along one axis of x seen as [outer, axis, inner], for float32 and float64: every
// row of the result is a weighted sum of a few rows of x.
#include <algorithm>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/dense_table.h"
#include "base/parallel.h"
#include "ops/common/resample.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

constexpr int64_t kGrain = 16384;  // elements worth a thread

struct ResampleState : KernelState {
  DType dtype = DType::kFloat32;
  ops::Taps taps;
  std::vector<float> narrow;  // the weights of taps once more, for float32
  int64_t outer = 1, from = 1, to = 1, inner = 1;
};

Support Supports(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (dtype == DType::kFloat32 || dtype == DType::kFloat64) return NeedsDense(node);
  return Support::No("is for float32 and float64, not ", dtype);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& node) {
  auto state = std::make_unique<ResampleState>();
  const MemDesc& x = node.inputs[0];
  const int axis = ops::Axis(node.attr<int64_t>(ops::ResampleAttr::kAxis), x.rank);
  state->dtype = x.dtype;
  state->from = x.sizes[axis];
  state->to = node.outputs[0].sizes[axis];
  state->taps = ops::TapsOf(node.attrs, state->from);
  state->narrow.assign(state->taps.weights.begin(), state->taps.weights.end());
  for (int i = 0; i < axis; ++i) state->outer *= x.sizes[i];
  for (int i = axis + 1; i < x.rank; ++i) state->inner *= x.sizes[i];
  state->detail = Name(CurrentIsa());
  return state;
}

template <class T>
void Run(const ResampleState& s, const std::vector<T>& weights, void* const* ptrs) {
  const T* x = static_cast<const T*>(ptrs[0]);
  T* y = static_cast<T*>(ptrs[1]);
  const int64_t grain =
      std::max<int64_t>(1, kGrain / (s.inner * std::max<int64_t>(1, s.taps.width)));
  const auto weighted_rows = DenseOf<T>().weighted_rows;
  ParallelFor(s.outer * s.to, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t i = row % s.to, from = row / s.to * s.from + s.taps.first[i];
      weighted_rows(x + from * s.inner, &weights[i * s.taps.width], s.taps.count[i], s.inner,
                    y + row * s.inner);
    }
  });
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ResampleState&>(state);
  if (s.dtype == DType::kFloat32) {
    Run<float>(s, s.narrow, ptrs);
  } else {
    Run<double>(s, s.taps.weights, ptrs);
  }
}

constexpr KernelDef kKernels[] = {{&ops::kResample, "taps", Supports, Prepare, Launch}};

}  // namespace

std::span<const KernelDef> ResampleKernels() { return kKernels; }

}  // namespace ostria::cpu
