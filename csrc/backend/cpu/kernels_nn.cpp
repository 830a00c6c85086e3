// SPDX-License-Identifier: Apache-2.0
// Row-wise ops over the last axis (softmax, cross-entropy, layer and RMS normalisation): adapters
// to simd/rows.h for float32 and float64. Other axes and dtypes decompose.
#include <string>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/rows.h"
#include "ops/common/attr_index.h"
#include "ops/common/classes.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

struct RowsState : KernelState {
  DType dtype = DType::kFloat32, label_dtype = DType::kInt64;
  int64_t rows = 1, cols = 1;
  int64_t stride = 1;  // of logits, of which the first `cols` of each row are classes
  double epsilon = 0;
};

Support SupportsDenseFloat(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  return NeedsDense(node);
}

std::unique_ptr<RowsState> MakeRows(const MemDesc& x, int row_axes) {
  auto state = std::make_unique<RowsState>();
  state->dtype = x.dtype;
  for (int i = 0; i < x.rank; ++i)
    (i < x.rank - row_axes ? state->rows : state->cols) *= x.sizes[i];
  state->detail = Name(CurrentIsa());
  return state;
}

// Calls fn with a null pointer of the state's element type.
template <class Fn>
void ForType(const RowsState& s, Fn fn) {
  if (s.dtype == DType::kFloat32) {
    fn(static_cast<float*>(nullptr));
  } else {
    fn(static_cast<double*>(nullptr));
  }
}

// --- softmax family ----------------------------------------------------------------------------

Support SupportsSoftmax(const NodeDesc& node) {
  if (Support s = SupportsDenseFloat(node); !s.ok) return s;
  const int rank = node.inputs[0].rank;
  int axis = ops::Axis(node.attr<int64_t>(ops::SoftmaxAttr::kAxis), rank);
  while (axis + 1 < rank && node.inputs[0].sizes[axis + 1] == 1) ++axis;
  if (axis + 1 == rank) return Support::Yes();
  return Support::No("is for the last axis");
}

std::unique_ptr<KernelState> PrepareSoftmax(const NodeDesc& node) {
  const MemDesc& x = node.inputs[0];
  return MakeRows(x, x.rank - ops::Axis(node.attr<int64_t>(ops::SoftmaxAttr::kAxis), x.rank));
}

bool AliasAny(const NodeDesc&, int, int) { return true; }

template <bool log>
void LaunchSoftmax(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RowsState&>(state);
  ForType(s, [&]<class T>(T*) {
    const T* x = static_cast<const T*>(ptrs[0]);
    T* y = static_cast<T*>(ptrs[1]);
    log ? LogSoftmax(x, y, s.rows, s.cols) : Softmax(x, y, s.rows, s.cols);
  });
}

template <bool log>
void LaunchSoftmaxGrad(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RowsState&>(state);
  ForType(s, [&]<class T>(T*) {
    const T *y = static_cast<const T*>(ptrs[0]), *g = static_cast<const T*>(ptrs[1]);
    T* dx = static_cast<T*>(ptrs[2]);
    log ? LogSoftmaxGrad(y, g, dx, s.rows, s.cols) : SoftmaxGrad(y, g, dx, s.rows, s.cols);
  });
}

// --- cross-entropy -----------------------------------------------------------------------------

std::unique_ptr<KernelState> PrepareCrossEntropy(const NodeDesc& node) {
  auto state = MakeRows(node.inputs[0], 1);
  state->label_dtype = node.inputs[1].dtype;
  state->stride = state->cols;
  const int64_t classes = node.attr<int64_t>(ops::kClassesAttr);
  if (classes >= 0) state->cols = classes;
  return state;
}

void CheckLabels(const RowsState& s, const void* labels, int64_t bad, std::string_view op) {
  if (bad < 0) return;
  const int64_t label = s.label_dtype == DType::kInt64 ? static_cast<const int64_t*>(labels)[bad]
                                                       : static_cast<const int32_t*>(labels)[bad];
  throw Error(ErrorCode::kIndexError, std::string(op),
              StrCat("label ", label, " of row ", bad, " is out of range for logits with ", s.cols,
                     " classes; labels must be in 0..", s.cols - 1));
}

void LaunchCrossEntropy(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RowsState&>(state);
  ForType(s, [&]<class T>(T*) {
    const int64_t bad = SparseSoftmaxCrossEntropy<T>(
        static_cast<const T*>(ptrs[0]), ptrs[1], s.label_dtype, nullptr, static_cast<T*>(ptrs[2]),
        nullptr, s.rows, s.cols, s.stride);
    CheckLabels(s, ptrs[1], bad, ops::kSparseSoftmaxCrossEntropy.name);
  });
}

void LaunchCrossEntropyGrad(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RowsState&>(state);
  ForType(s, [&]<class T>(T*) {
    const int64_t bad = SparseSoftmaxCrossEntropy<T>(
        static_cast<const T*>(ptrs[0]), ptrs[1], s.label_dtype, static_cast<const T*>(ptrs[2]),
        static_cast<T*>(ptrs[4]), static_cast<T*>(ptrs[3]), s.rows, s.cols, s.stride);
    CheckLabels(s, ptrs[1], bad, ops::kSparseSoftmaxCrossEntropy.name);
  });
}

bool AliasLogits(const NodeDesc&, int out, int in) { return out == 0 && in == 0; }

// --- layer and RMS normalisation -----------------------------------------------------------------

std::unique_ptr<KernelState> PrepareLayerNorm(const NodeDesc& node) {
  auto state = MakeRows(node.inputs[0], static_cast<int>(node.attr<int64_t>(ops::NormAttr::kAxes)));
  state->epsilon = node.attr<double>(ops::NormAttr::kEpsilon);
  return state;
}

void LaunchLayerNorm(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RowsState&>(state);
  ForType(s, [&]<class T>(T*) {
    LayerNorm<T>(static_cast<const T*>(ptrs[0]), static_cast<const T*>(ptrs[1]),
                 static_cast<const T*>(ptrs[2]), s.epsilon, static_cast<T*>(ptrs[3]),
                 static_cast<T*>(ptrs[4]), static_cast<T*>(ptrs[5]), s.rows, s.cols);
  });
}

std::unique_ptr<KernelState> PrepareLayerNormGrad(const NodeDesc& node) {
  auto state = MakeRows(node.inputs[0], static_cast<int>(node.attr<int64_t>(0)));
  state->workspace_bytes = NormGradSums(state->rows, state->cols) * SizeOf(state->dtype);
  return state;
}

void LaunchLayerNormGrad(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RowsState&>(state);
  ForType(s, [&]<class T>(T*) {
    LayerNormGrad<T>(static_cast<const T*>(ptrs[1]), static_cast<const T*>(ptrs[2]),
                     static_cast<const T*>(ptrs[3]), static_cast<const T*>(ptrs[4]),
                     static_cast<const T*>(ptrs[0]), static_cast<T*>(ptrs[5]),
                     static_cast<T*>(ptrs[6]), static_cast<T*>(ptrs[7]), s.rows, s.cols,
                     static_cast<T*>(ptrs[8]));
  });
}

void LaunchRmsNorm(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RowsState&>(state);
  ForType(s, [&]<class T>(T*) {
    RmsNorm<T>(static_cast<const T*>(ptrs[0]), static_cast<const T*>(ptrs[1]), s.epsilon,
               static_cast<T*>(ptrs[2]), static_cast<T*>(ptrs[3]), s.rows, s.cols);
  });
}

void LaunchRmsNormGrad(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RowsState&>(state);
  ForType(s, [&]<class T>(T*) {
    RmsNormGrad<T>(static_cast<const T*>(ptrs[1]), static_cast<const T*>(ptrs[2]),
                   static_cast<const T*>(ptrs[3]), static_cast<const T*>(ptrs[0]),
                   static_cast<T*>(ptrs[4]), static_cast<T*>(ptrs[5]), s.rows, s.cols,
                   static_cast<T*>(ptrs[6]));
  });
}

// dx takes the place of the cotangent.
bool AliasCotangent(const NodeDesc&, int out, int in) { return out == 0 && in == 0; }

constexpr KernelDef kKernels[] = {
    {&ops::kSoftmax, "rows", SupportsSoftmax, PrepareSoftmax, LaunchSoftmax<false>, AliasAny},
    {&ops::kLogSoftmax, "rows", SupportsSoftmax, PrepareSoftmax, LaunchSoftmax<true>, AliasAny},
    {&ops::kSoftmaxGrad, "rows", SupportsSoftmax, PrepareSoftmax, LaunchSoftmaxGrad<false>,
     AliasAny},
    {&ops::kLogSoftmaxGrad, "rows", SupportsSoftmax, PrepareSoftmax, LaunchSoftmaxGrad<true>,
     AliasAny},
    {&ops::kSparseSoftmaxCrossEntropy, "rows", SupportsDenseFloat, PrepareCrossEntropy,
     LaunchCrossEntropy},
    {.op = &ops::kSparseSoftmaxCrossEntropyGrad,
     .impl = "rows",
     .supports = SupportsDenseFloat,
     .prepare = PrepareCrossEntropy,
     .launch = LaunchCrossEntropyGrad,
     .alias_ok = AliasLogits,
     .optional_outputs = 0b10},
    {.op = &ops::kLayerNorm,
     .impl = "rows",
     .supports = SupportsDenseFloat,
     .prepare = PrepareLayerNorm,
     .launch = LaunchLayerNorm,
     .optional_outputs = 0b111},
    {&ops::kLayerNormGrad, "rows", SupportsDenseFloat, PrepareLayerNormGrad, LaunchLayerNormGrad,
     AliasCotangent},
    {.op = &ops::kRmsNorm,
     .impl = "rows",
     .supports = SupportsDenseFloat,
     .prepare = PrepareLayerNorm,
     .launch = LaunchRmsNorm,
     .optional_outputs = 0b11},
    {&ops::kRmsNormGrad, "rows", SupportsDenseFloat, PrepareLayerNormGrad, LaunchRmsNormGrad,
     AliasCotangent},
};

}  // namespace

std::span<const KernelDef> NnKernels() { return kKernels; }

}  // namespace ostria::cpu
