// SPDX-License-Identifier: Apache-2.0
// What a step's writes of state depend on.
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/control/data_accepted.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::DataAcceptedParams;

std::unique_ptr<KernelState> PrepareAccepted(const NodeDesc&) {
  auto state = std::make_unique<OneLaunch<DataAcceptedParams>>();
  state->file = "control/data_accepted";
  state->function = "data_accepted";
  state->shape.block = 32;
  state->point = [](DataAcceptedParams* p, void* const* ptrs) {
    p->decision = static_cast<const bool*>(ptrs[0]);
    p->accepted = static_cast<bool*>(ptrs[1]);
    p->decided = static_cast<bool*>(ptrs[2]);
  };
  return state;
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kDataAccepted,
     .impl = "word",
     .supports = NeedsDense,
     .prepare = PrepareAccepted,
     .launch = RunOne<DataAcceptedParams>,
     .alias_ok = [](const NodeDesc&, int out, int) { return out == 1; },
     .bind = BindOne<DataAcceptedParams>}};

}  // namespace

std::span<const KernelDef> ControlKernels() { return kKernels; }

}  // namespace ostria::cuda
