// SPDX-License-Identifier: Apache-2.0
// recurrent_layer and its gradient as cuDNN's recurrent nets of one layer: what a node comes down
// to, and how large the library's memory is. None of it needs a device or the library.
#pragma once

#include <cstdint>

#include "backend/kernel.h"

namespace ostria::cuda {

struct CudnnRecurrent {
  DType dtype = DType::kFloat32;
  bool lstm = false, grad = false, tf32 = false;
  int64_t batch = 0, time = 0, features = 0, units = 0;

  int64_t gates() const { return lstm ? 4 : 3; }
  int64_t biases() const { return lstm ? 1 : 2; }  // gru has one on either side of its reset gate
  int64_t states() const { return lstm ? 2 : 1; }
  /// Both matrices and the biases, as kernels/recurrent/pack.h says.
  int64_t weight_bytes() const;
  /// The node's `saved`.
  int64_t saved_bytes() const;
  /// What cuDNN 9.19 asks for at most, within a few percent: only a live device says exactly.
  int64_t work_bytes() const;
};

CudnnRecurrent DescribeRecurrent(const NodeDesc& node);
/// Whether cuDNN's results are the node's; the reasons stand in the messages.
Support SupportsRecurrent(const NodeDesc& node);

std::unique_ptr<KernelState> PrepareRecurrent(const NodeDesc& node);
/// Throws Error(kInternal) where this version of the library keeps more, or weights in another
/// order, than was planned.
std::unique_ptr<KernelState> BindRecurrent(const std::shared_ptr<const KernelState>& state,
                                           const BindContext& to);
void LaunchRecurrent(const KernelState& state, void* const* ptrs);
void LaunchRecurrentGrad(const KernelState& state, void* const* ptrs);

}  // namespace ostria::cuda
