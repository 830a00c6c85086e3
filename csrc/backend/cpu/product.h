// SPDX-License-Identifier: Apache-2.0
// A matrix product as a part of another kernel: the implementation that a matmul node of these
// operands would get.
#pragma once

#include <memory>

#include "backend/kernel.h"

namespace ostria::cpu {

/// A matrix of rows `stride` elements apart.
MemDesc Matrix(DType dtype, int64_t rows, int64_t cols, int64_t stride);

class Product {
 public:
  Product() = default;
  /// y = a b (+ bias), with a and b transposed on request.
  Product(const DeviceProps* device, const MemDesc& a, const MemDesc& b, const MemDesc& y,
          bool transpose_a, bool transpose_b, bool bias);

  int64_t workspace_bytes() const { return state_->workspace_bytes; }
  std::string_view impl() const { return kernel_->impl; }
  /// `bias`: null where the product has none.
  void Run(const void* a, const void* b, const void* bias, void* y, void* workspace) const;

 private:
  const KernelDef* kernel_ = nullptr;
  std::unique_ptr<KernelState> state_;
  bool bias_ = false;
};

}  // namespace ostria::cpu
