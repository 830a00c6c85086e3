// SPDX-License-Identifier: Apache-2.0
// Launching kernels of our own. A kernel takes one POD struct of parameters (kernels/<family>/*.h),
// shared by host and device. A node that is one launch needs a function that fills the struct and
// another that sets its pointers: see OneLaunch.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend/cuda/stream.h"

namespace ostria::cuda {

/// Puts one launch into the stream. Throws Error(kInternal) with the function's name.
void LaunchKernel(const CudaStream& stream, CUfunction function, const LaunchShape& shape,
                  const void* params, size_t bytes);

/// A block of 16-byte vectors, `per_thread` elements for each of `block` threads, at most
/// `blocks_per_sm` times the multiprocessors: for loops that stride over the grid.
unsigned GridFor(int64_t elements, int64_t per_thread, unsigned block, const DeviceProps& device,
                 int blocks_per_sm = 8);

/// What prepare makes of a node that is one launch of kernels/<file>.cu.
template <class Params>
struct OneLaunch : KernelState {
  static_assert(std::is_trivially_copyable_v<Params>);
  std::string file, function;
  LaunchShape shape;
  Params params = {};
  /// Sets the pointers: of inputs in order, then outputs, then the workspace.
  void (*point)(Params* params, void* const* ptrs) = nullptr;
  std::vector<std::string> LaunchNames() const override { return {function}; }
};

/// The same on a device.
template <class Params>
struct BoundLaunch final : KernelState {
  std::shared_ptr<const OneLaunch<Params>> plan;
  const CudaStream* stream = nullptr;
  CUfunction function = nullptr;
  Params params = {};
};

/// KernelDef::bind of such a node. Where Params has `data_error` and `step`, they are set too.
template <class Params>
std::unique_ptr<KernelState> BindOne(const std::shared_ptr<const KernelState>& state,
                                     const BindContext& to) {
  auto bound = std::make_unique<BoundLaunch<Params>>();
  bound->plan = std::static_pointer_cast<const OneLaunch<Params>>(state);
  bound->stream = &StreamOf(to);
  bound->function = StreamOf(to).cuda().Kernel(bound->plan->file, bound->plan->function);
  bound->params = bound->plan->params;
  if constexpr (requires { bound->params.data_error; }) {
    bound->params.data_error = StreamOf(to).cuda().data_error();
    bound->params.step = to.step;
  }
  return bound;
}

/// KernelDef::launch of such a node.
template <class Params>
void RunOne(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BoundLaunch<Params>&>(state);
  Params params = s.params;
  s.plan->point(&params, ptrs);
  LaunchKernel(*s.stream, s.function, s.plan->shape, &params, sizeof params);
}

}  // namespace ostria::cuda
