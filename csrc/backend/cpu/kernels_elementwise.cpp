// SPDX-License-Identifier: Apache-2.0
// Every op that names a functor runs through one KernelDef; so a new elementwise op needs none
// here.
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/copy.h"
#include "backend/cpu/simd/elementwise.h"
#include "ops/common/scalar.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

constexpr int kMaxInputs = 3;

struct ElementwiseState final : KernelState {
  ElementwiseProgram program;
  int n_inputs = 0, n_constants = 0;
  alignas(8) std::byte constants[2][8];  // clip's limits, as the functor's last inputs
};

DType DataType(const NodeDesc& d) { return d.inputs.back().dtype; }

Support Supports(const NodeDesc& d) {
  const ops::ScalarCall call = ops::ScalarCallOf(*d.op, d.attrs);
  if (!ElementwiseSupports(call.op, DataType(d))) {
    return Support::No(kernels::Name(call.op), " is not defined for ", DataType(d));
  }
  if (!d.outputs[0].is_dense()) return Support::No("the output is not dense");
  return Support::Yes();
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  auto state = std::make_unique<ElementwiseState>();
  const ops::ScalarCall call = ops::ScalarCallOf(*d.op, d.attrs);
  const MemDesc& out = d.outputs[0];
  state->n_inputs = call.n_inputs;
  state->n_constants = call.n_constants;

  int64_t strides[kMaxInputs][kMaxElementwiseRank] = {};  // 0: repeated (constants everywhere)
  for (int i = 0; i < call.n_inputs; ++i) {
    const MemDesc& in = d.inputs[i];
    const int added = out.rank - in.rank;
    for (int k = 0; k < in.rank; ++k) {
      strides[i][k + added] = in.sizes[k] == 1 ? 0 : in.strides[k];
    }
  }
  for (int i = 0; i < call.n_constants; ++i) {
    Cast(DType::kFloat64, &call.constants[i], DataType(d), state->constants[i], 1);
  }
  ElementwiseArgs args{.op = call.op,
                       .dtype = DataType(d),
                       .rank = out.rank,
                       .sizes = out.sizes.data(),
                       .strides = strides,
                       .params = {call.params[0], call.params[1]}};
  state->program = PrepareElementwise(args);
  state->detail = StrCat(kernels::Name(call.op), ":", DataType(d));
  return state;
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ElementwiseState&>(state);
  if (s.n_constants == 0) {
    RunElementwise(s.program, const_cast<const void* const*>(ptrs), ptrs[s.n_inputs]);
    return;
  }
  const void* in[kMaxInputs];
  for (int i = 0; i < s.n_inputs; ++i) in[i] = ptrs[i];
  for (int i = 0; i < s.n_constants; ++i) in[s.n_inputs + i] = s.constants[i];
  RunElementwise(s.program, in, ptrs[s.n_inputs]);
}

// Element i is read before it is written, so equal sizes and equal bytes are enough.
bool AliasOk(const NodeDesc& d, int, int in) {
  const MemDesc &a = d.inputs[in], &y = d.outputs[0];
  return a.rank == y.rank && a.sizes == y.sizes && a.is_dense() &&
         SizeOf(a.dtype) == SizeOf(y.dtype);
}

struct CastState final : KernelState {
  DType from, to;
  int64_t n = 0;
};

std::unique_ptr<KernelState> PrepareCast(const NodeDesc& d) {
  auto state = std::make_unique<CastState>();
  state->from = d.inputs[0].dtype;
  state->to = d.outputs[0].dtype;
  state->n = d.outputs[0].numel();
  return state;
}

void LaunchCast(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const CastState&>(state);
  Cast(s.from, ptrs[0], s.to, ptrs[1], s.n);
}

std::vector<KernelDef> Kernels() {
  std::vector<KernelDef> list = {{.op = &ops::kCast,
                                  .impl = "convert",
                                  .supports = NeedsDense,
                                  .prepare = PrepareCast,
                                  .launch = LaunchCast,
                                  .alias_ok = AliasOk}};
  for (const OpDef* op : ops::AllOps()) {
    if (!op->scalar) continue;
    list.push_back({.op = op,
                    .impl = "elementwise",
                    .supports = Supports,
                    .prepare = Prepare,
                    .launch = Launch,
                    .alias_ok = AliasOk});
  }
  return list;
}

}  // namespace

std::span<const KernelDef> ElementwiseKernels() {
  static const std::vector<KernelDef> kernels = Kernels();
  return kernels;
}

}  // namespace ostria::cpu
