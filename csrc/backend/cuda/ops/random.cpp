// SPDX-License-Identifier: Apache-2.0
// The generators: kernels/random. Their numbers are the CPU's, bit for bit (normal numbers of
// float64 but for the rounding of the logarithm).
#include "kernels/random/random.h"
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/scalar/philox.h"
#include "ops/common/random.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::PermutationParams;
using kernels::RandomParams;

std::unique_ptr<OneLaunch<RandomParams>> Make(const NodeDesc& d, int64_t stream) {
  const MemDesc& y = d.outputs[0];
  auto state = std::make_unique<OneLaunch<RandomParams>>();
  state->file = "random/random";
  state->function = StrCat(d.op->name, "_", Suffix(y.dtype));
  RandomParams& p = state->params;
  p.elements = y.numel();
  for (int i = 1; i < y.rank; ++i) p.row *= y.sizes[i];
  p.stream = kernels::MixStream(static_cast<uint64_t>(stream));
  state->shape.grid[0] = GridFor(p.elements, 4, state->shape.block, *d.device);
  return state;
}

std::unique_ptr<KernelState> PrepareDraw(const NodeDesc& d) {
  auto state = Make(d, d.attr<int64_t>(ops::RandomAttr::kStream));
  state->params.a = d.attr<double>(ops::RandomAttr::kA);
  state->params.b = d.attr<double>(ops::RandomAttr::kB);
  state->point = [](RandomParams* p, void* const* ptrs) {
    p->key = static_cast<const int64_t*>(ptrs[0]);
    p->first_row = static_cast<const int64_t*>(ptrs[1]);
    p->dst = ptrs[2];
  };
  return state;
}

std::unique_ptr<KernelState> PrepareDropout(const NodeDesc& d) {
  auto state = Make(d, d.attr<int64_t>(ops::DropoutAttr::kStream));
  const double kept = 1 - d.attr<double>(ops::DropoutAttr::kRate);
  state->params.b = 1 / kept;
  state->params.limit = kernels::WordLimit(kept);
  state->point = [](RandomParams* p, void* const* ptrs) {
    p->src = ptrs[0];
    p->key = static_cast<const int64_t*>(ptrs[1]);
    p->first_row = static_cast<const int64_t*>(ptrs[2]);
    p->dst = ptrs[3];
  };
  return state;
}

bool AliasX(const NodeDesc&, int, int in) { return in == 0; }

std::unique_ptr<KernelState> PreparePermutation(const NodeDesc& d) {
  auto state = std::make_unique<OneLaunch<PermutationParams>>();
  state->file = "random/permutation";
  state->function = "random_permutation";
  state->params.n = d.outputs[0].numel();
  state->params.stream = kernels::MixStream(static_cast<uint64_t>(d.attr<int64_t>(1)));
  state->shape.block = kernels::kPermutationThreads;
  state->workspace_bytes = state->params.n * static_cast<int64_t>(sizeof(int32_t));
  state->point = [](PermutationParams* p, void* const* ptrs) {
    p->key = static_cast<const int64_t*>(ptrs[0]);
    p->dst = static_cast<int64_t*>(ptrs[1]);
    p->owners = static_cast<int32_t*>(ptrs[2]);
  };
  return state;
}

constexpr KernelDef Drawing(const OpDef& op) {
  return {.op = &op,
          .impl = "philox",
          .supports = NeedsDense,
          .prepare = PrepareDraw,
          .launch = RunOne<RandomParams>,
          .bind = BindOne<RandomParams>};
}

constexpr KernelDef kKernels[] = {
    Drawing(ops::kRandomUniform),
    Drawing(ops::kRandomNormal),
    Drawing(ops::kTruncatedNormal),
    {.op = &ops::kDropout,
     .impl = "philox",
     .supports = NeedsDense,
     .prepare = PrepareDropout,
     .launch = RunOne<RandomParams>,
     .alias_ok = AliasX,
     .bind = BindOne<RandomParams>},
    {.op = &ops::kRandomPermutation,
     .impl = "claims",
     .supports = NeedsDense,
     .prepare = PreparePermutation,
     .launch = RunOne<PermutationParams>,
     .bind = BindOne<PermutationParams>},
};

}  // namespace

std::span<const KernelDef> RandomKernels() { return kKernels; }

}  // namespace ostria::cuda
