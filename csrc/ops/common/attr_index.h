// SPDX-License-Identifier: Apache-2.0
// Positions of the attributes of ops that have implementations of their own or are named by passes.
// The op's file lists its attributes in this order; whoever reads them includes this and uses no
// number.
#pragma once

namespace ostria::ops {

struct MatmulAttr {
  enum : int { kTransposeA, kTransposeB, kActivation /* matmul_fused only */ };
};

/// conv2d, conv2d_fused (kActivation), conv2d_grad_input (kSize: input height and width as a
/// shape), conv2d_grad_filter (kSize: kernel height and width as a shape).
struct ConvAttr {
  enum : int { kStrides, kPadding, kDilation, kGroups, kActivation, kSize = kActivation };
};

/// max_pool2d, avg_pool2d and their gradients (kSize: input height and width as a shape).
struct PoolAttr {
  enum : int { kWindow, kStrides, kPadding, kSize };
};

struct SoftmaxAttr {
  enum : int { kAxis };
};

struct NormAttr {
  enum : int { kEpsilon, kAxes /* layer_norm: how many last axes */ };
};

}  // namespace ostria::ops
