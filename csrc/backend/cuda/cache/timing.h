// SPDX-License-Identifier: Apache-2.0
// Which of several ways to compute something is fastest on the device, for use while binding.
// Timed on copies of the operands that take turns, more than the caches hold where the operands
// are large; small ones lie in the caches, as they do when the kernel before has just written them.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "backend/cuda/stream.h"

namespace ostria::cuda {

/// Copies of operands of these sizes, filled with small numbers of any float type.
class RotatingOperands {
 public:
  RotatingOperands(const CudaStream& stream, std::span<const int64_t> bytes);
  ~RotatingOperands();
  RotatingOperands(const RotatingOperands&) = delete;
  RotatingOperands& operator=(const RotatingOperands&) = delete;
  int copies() const { return copies_; }
  void* at(int copy, int operand) const;

 private:
  const CudaStream& stream_;
  std::vector<int64_t> offsets_;
  int64_t each_ = 0;
  int copies_ = 1;
  CUdeviceptr memory_ = 0;
};

/// The index of the fastest of `ways`, each of which puts its work for one copy into the stream.
/// Waits for the device.
size_t FastestOf(const CudaStream& stream, int copies,
                 std::span<const std::function<void(int copy)>> ways);

}  // namespace ostria::cuda
