// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/product.h"

#include <array>
#include <vector>

#include "backend/cpu/kernels.h"
#include "base/check.h"
#include "ops/ops.h"

namespace ostria::cpu {

MemDesc Matrix(DType dtype, int64_t rows, int64_t cols, int64_t stride) {
  MemDesc m;
  m.dtype = dtype;
  m.rank = 2;
  m.sizes[0] = rows;
  m.sizes[1] = cols;
  m.strides[0] = stride;
  m.strides[1] = 1;
  return m;
}

Product::Product(const DeviceProps* device, const MemDesc& a, const MemDesc& b, const MemDesc& y,
                 bool transpose_a, bool transpose_b, bool bias)
    : bias_(bias) {
  std::vector<MemDesc> inputs = {a, b};
  if (bias) inputs.push_back(MemDesc::Dense(a.dtype, Shape{y.sizes[1]}));
  std::vector<Attr> attrs = {transpose_a, transpose_b};
  if (bias) attrs.insert(attrs.end(), {std::string("none"), false});
  NodeDesc node;
  node.op = bias ? &ops::kMatmulFused : &ops::kMatmul;
  node.attrs = attrs;
  node.inputs = inputs;
  node.outputs = {&y, 1};
  node.device = device;
  for (const KernelDef& kernel : LinalgKernels()) {
    if (kernel.op != node.op || !kernel.supports(node).ok) continue;
    kernel_ = &kernel;
    state_ = kernel.prepare(node);
    return;
  }
  OSTRIA_CHECK(false, "no implementation of a product of ", a.dtype);
}

void Product::Run(const void* a, const void* b, const void* bias, void* y, void* workspace) const {
  std::array<void*, 5> ptrs = {const_cast<void*>(a), const_cast<void*>(b)};
  int n = 2;
  if (bias_) ptrs[n++] = const_cast<void*>(bias);
  ptrs[n++] = y;
  ptrs[n] = workspace;
  kernel_->launch(*state_, ptrs.data());
}

}  // namespace ostria::cpu
