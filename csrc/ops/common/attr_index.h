// SPDX-License-Identifier: Apache-2.0
// Positions of the attributes of ops that have implementations of their own or are named by passes.
// The op's file lists its attributes in this order; whoever reads them includes this and uses no
// number.
#pragma once

namespace ostria::ops {

struct MatmulAttr {
  enum : int { kTransposeA, kTransposeB, kEpilogue, kWiden /* the last two: matmul_fused only */ };
};

/// conv1d to conv3d, conv_fused (kActivation), conv_grad_input (kSize: the image's spatial sizes as
/// a shape), conv_grad_filter (kSize: the kernel's), conv_transpose1d to 3d (kOutputPadding).
struct ConvAttr {
  enum : int {
    kStrides,
    kPadding,
    kDilation,
    kGroups,
    kActivation,
    kSize = kActivation,
    kOutputPadding = kActivation
  };
};

/// The pools and their gradients (kSize: the image's spatial sizes as a shape).
struct PoolAttr {
  enum : int { kWindow, kStrides, kPadding, kSize };
};

struct GatherConcatAttr {
  enum : int { kGathers, kAxis };
};

struct SumRowsAttr {
  enum : int { kTables, kSizes, kColumns };
};

struct SoftmaxAttr {
  enum : int { kAxis };
};

struct NormAttr {
  // layer_norm, rms_norm: how many last axes; group_norm: how many groups of channels
  enum : int { kEpsilon, kAxes, kGroups = kAxes };
};

/// simple_rnn (kActivation), gru, lstm and their gradients.
struct RecurrentAttr {
  enum : int { kReverse, kActivation };
};

}  // namespace ostria::ops
