// SPDX-License-Identifier: Apache-2.0
// Recurrent layers by cuDNN. What it does not take goes to recurrent_steps, or is a loop: see the
// passes recurrent_layers and expand_recurrent.
#include "backend/cuda/cudnn/recurrent.h"
#include "backend/cuda/ops/kernels.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

constexpr KernelDef kKernels[] = {
    {.op = &ops::kRecurrentLayer,
     .impl = "cudnn",
     .supports = SupportsRecurrent,
     .prepare = PrepareRecurrent,
     .launch = LaunchRecurrent,
     .optional_outputs = 1 << 1,  // saved: inference
     .bind = BindRecurrent},
    {.op = &ops::kRecurrentLayerGrad,
     .impl = "cudnn",
     .supports = SupportsRecurrent,
     .prepare = PrepareRecurrent,
     .launch = LaunchRecurrentGrad,
     .bind = BindRecurrent},
};

}  // namespace

std::span<const KernelDef> RecurrentKernels() { return kKernels; }

}  // namespace ostria::cuda
