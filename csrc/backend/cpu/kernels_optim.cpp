// SPDX-License-Identifier: Apache-2.0
// Multi-tensor updates. State lies in chunks in creation order and gradients and slots mirror it
// (zero padding included), so variables that follow each other in memory are joined at run time:
// the cost of a step depends on the number of elements, not of variables.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/fold.h"
#include "backend/cpu/simd/optimizer.h"
#include "backend/cpu/simd/rows.h"
#include "base/check.h"
#include "core/tensor.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

struct UpdateState : KernelState {
  DType dtype = DType::kFloat32;
  int groups = 0, n = 0;
  std::vector<int64_t> numel, outer_rows;
  std::vector<bool> decays;
  double weight_decay = 0;
  double a = 0, b = 0, epsilon = 0;  // momentum; beta1 and beta2
  bool nesterov = false;
  DType step_dtype = DType::kInt64;
};

Support SupportsUpdate(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  return NeedsDense(node);
}

std::unique_ptr<UpdateState> Make(const NodeDesc& node, int groups, int scalars,
                                  int weight_decay_attr) {
  auto state = std::make_unique<UpdateState>();
  state->dtype = node.inputs[0].dtype;
  state->groups = groups;
  state->n = ops::GroupSize(node.inputs.size(), groups, scalars);
  state->weight_decay = node.attr<double>(weight_decay_attr);
  const auto& mask = node.attr<std::vector<int64_t>>(weight_decay_attr + 1);
  const auto& outer = node.attr<std::vector<int64_t>>(weight_decay_attr + 2);
  for (int i = 0; i < state->n; ++i) {
    state->numel.push_back(node.inputs[i].numel());
    state->outer_rows.push_back(ops::OuterRows(outer, i));
    state->decays.push_back(state->weight_decay != 0 && ops::Decays(mask, i));
  }
  state->detail = Name(CurrentIsa());
  return state;
}

struct Scalars {
  double lr = 0, step = 1, grad_scale = 1;
  bool commit = true;
};

Scalars ReadScalars(const UpdateState& s, void* const* ptrs, bool has_step) {
  void* const* p = ptrs + s.groups * s.n;
  Scalars out;
  out.lr = *static_cast<const float*>(*p++);
  if (has_step) {
    out.step = s.step_dtype == DType::kInt64 ? static_cast<double>(*static_cast<const int64_t*>(*p))
                                             : static_cast<double>(*static_cast<const float*>(*p));
    ++p;
  }
  out.grad_scale = *static_cast<const float*>(*p++);
  out.commit = *static_cast<const bool*>(*p);
  return out;
}

/// Joined variables, a few at a time, with one answer to "does it decay".
template <class T>
struct Batch {
  static constexpr int kMax = 64;
  OptimizerSegment<T> segments[kMax];
  int count = 0;
};

// Copies what is not updated in place, then hands runs of joined variables to update(segments,
// count, decays). With commit false nothing but the copies happens.
template <class T, class Update>
void ForRuns(const UpdateState& s, void* const* ptrs, bool has_step, bool commit, Update update) {
  const int n = s.n;
  void* const* outputs = ptrs + s.groups * n + (has_step ? 4 : 3);
  constexpr int64_t kPad = kAlignment / sizeof(T);
  Batch<T> batches[2];
  // Ends of the last segment of each kind, where a neighbour would begin.
  OptimizerSegment<T>* open[2] = {};
  bool open_in_place[2] = {};
  for (int i = 0; i < n; ++i) {
    const size_t bytes = static_cast<size_t>(s.numel[i]) * sizeof(T);
    bool in_place = true;
    for (int k = 0; k + 1 < s.groups; ++k) {
      const void* from = ptrs[(k == 0 ? 0 : k + 1) * n + i];
      void* to = outputs[k * n + i];
      if (from == to) continue;
      in_place = false;
      if (bytes > 0) std::memcpy(to, from, bytes);
    }
    if (!commit || bytes == 0) continue;
    OptimizerSegment<T> now = {};
    now.w = static_cast<T*>(outputs[i]);
    now.g = static_cast<const T*>(ptrs[n + i]);
    now.m = s.groups > 2 ? static_cast<T*>(outputs[n + i]) : nullptr;
    now.v = s.groups > 3 ? static_cast<T*>(outputs[2 * n + i]) : nullptr;
    now.n = s.numel[i];
    if (const int64_t rows = s.outer_rows[i]; rows > 0) {
      now.column = now.g;
      now.g += rows;
      now.cols = now.n / rows;
      in_place = false;  // nothing is joined to it
    }
    const int kind = s.decays[i];
    Batch<T>& batch = batches[kind];
    if (OptimizerSegment<T>* last = open[kind];
        last != nullptr && in_place && open_in_place[kind]) {
      const int64_t room = (last->n + kPad - 1) / kPad * kPad;
      if (now.w == last->w + room && now.g == last->g + room &&
          (last->m == nullptr || now.m == last->m + room) &&
          (last->v == nullptr || now.v == last->v + room)) {
        last->n = room + now.n;
        continue;
      }
    }
    if (batch.count == Batch<T>::kMax) {
      update(batch.segments, batch.count, kind != 0);
      batch.count = 0;
    }
    batch.segments[batch.count] = now;
    open[kind] = &batch.segments[batch.count++];
    open_in_place[kind] = in_place;
  }
  for (int kind : {0, 1}) {
    if (batches[kind].count > 0) update(batches[kind].segments, batches[kind].count, kind != 0);
  }
}

// Calls fn with a null pointer of the weights' type.
template <class Fn>
void ForType(const UpdateState& s, Fn fn) {
  if (s.dtype == DType::kFloat32) {
    fn(static_cast<float*>(nullptr));
  } else {
    fn(static_cast<double*>(nullptr));
  }
}

// --- gradient descent --------------------------------------------------------------------------

std::unique_ptr<KernelState> PrepareSgd(const NodeDesc& node) { return Make(node, 2, 3, 0); }

std::unique_ptr<KernelState> PrepareMomentum(const NodeDesc& node) {
  auto state = Make(node, 3, 3, 2);
  state->a = node.attr<double>(0);
  state->nesterov = node.attr<bool>(1);
  return state;
}

void LaunchSgd(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const UpdateState&>(state);
  const Scalars v = ReadScalars(s, ptrs, false);
  ForType(s, [&]<class T>(T*) {
    ForRuns<T>(s, ptrs, false, v.commit,
               [&](const OptimizerSegment<T>* segments, int count, bool decays) {
                 SgdOptions o;
                 o.learning_rate = v.lr;
                 o.momentum = s.a;
                 o.nesterov = s.nesterov;
                 o.weight_decay = decays ? s.weight_decay : 0;
                 o.grad_scale = v.grad_scale;
                 SgdUpdate(o, segments, count);
               });
  });
}

// --- Adam --------------------------------------------------------------------------------------

std::unique_ptr<KernelState> PrepareAdam(const NodeDesc& node) {
  auto state = Make(node, 4, 4, 3);
  state->a = node.attr<double>(0);
  state->b = node.attr<double>(1);
  state->epsilon = node.attr<double>(2);
  state->step_dtype = node.inputs[4 * state->n + 1].dtype;
  return state;
}

void LaunchAdam(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const UpdateState&>(state);
  const Scalars v = ReadScalars(s, ptrs, true);
  ForType(s, [&]<class T>(T*) {
    ForRuns<T>(s, ptrs, true, v.commit,
               [&](const OptimizerSegment<T>* segments, int count, bool decays) {
                 AdamOptions o;
                 o.learning_rate = v.lr;
                 o.beta1 = s.a;
                 o.beta2 = s.b;
                 o.epsilon = s.epsilon;
                 o.step = static_cast<int64_t>(v.step);
                 o.weight_decay = decays ? s.weight_decay : 0;
                 o.grad_scale = v.grad_scale;
                 AdamUpdate(o, segments, count);
               });
  });
}

// --- Adagrad -----------------------------------------------------------------------------------

std::unique_ptr<KernelState> PrepareAdagrad(const NodeDesc& node) {
  auto state = Make(node, 3, 3, 1);
  state->epsilon = node.attr<double>(0);
  return state;
}

void LaunchAdagrad(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const UpdateState&>(state);
  const Scalars v = ReadScalars(s, ptrs, false);
  ForType(s, [&]<class T>(T*) {
    ForRuns<T>(s, ptrs, false, v.commit,
               [&](const OptimizerSegment<T>* segments, int count, bool decays) {
                 AdagradOptions o;
                 o.learning_rate = v.lr;
                 o.epsilon = s.epsilon;
                 o.weight_decay = decays ? s.weight_decay : 0;
                 o.grad_scale = v.grad_scale;
                 AdagradUpdate(o, segments, count);
               });
  });
}

// Output k, i is the variable or slot of input group 0, 2, 3, …
bool AliasUpdate(const NodeDesc& node, int out, int in) {
  int groups = 0;
  for (const InputDef& input : node.op->inputs) groups += input.arity == Arity::kVariadic;
  OSTRIA_CHECK(groups > 1);
  const int n = static_cast<int>(node.outputs.size()) / (groups - 1);
  const int group = out / n;
  return in == (group == 0 ? 0 : group + 1) * n + out % n;
}

// --- checks over all gradients -----------------------------------------------------------------

struct ListState : KernelState {
  struct Item {
    DType dtype;
    int64_t numel, outer_rows;
  };
  std::vector<Item> tensors;
};

Support SupportsList(const NodeDesc& node) {
  for (const MemDesc& x : node.inputs) {
    if (x.dtype != DType::kFloat32 && x.dtype != DType::kFloat64) {
      return Support::No("is for float32 and float64, not ", x.dtype);
    }
  }
  return NeedsDense(node);
}

std::unique_ptr<KernelState> PrepareList(const NodeDesc& node) {
  auto state = std::make_unique<ListState>();
  for (const MemDesc& x : node.inputs) state->tensors.push_back({x.dtype, x.numel(), 0});
  return state;
}

std::unique_ptr<KernelState> PrepareAllFinite(const NodeDesc& node) {
  auto state = PrepareList(node);
  auto& tensors = static_cast<ListState&>(*state).tensors;
  const auto& outer = node.attr<std::vector<int64_t>>(0);
  for (size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].outer_rows = ops::OuterRows(outer, static_cast<int>(i));
  }
  return state;
}

// An outer product is finite where both vectors are and their largest elements' product is.
template <class T>
bool ItemFinite(const ListState::Item& item, const void* data) {
  const T* x = static_cast<const T*>(data);
  if (!AllFinite(x, item.numel)) return false;
  if (item.outer_rows == 0 || item.outer_rows == item.numel) return true;
  const auto largest = [x](int64_t begin, int64_t end) {
    return std::max(FoldAll(FoldOp::kMax, x + begin, end - begin),
                    -FoldAll(FoldOp::kMin, x + begin, end - begin));
  };
  return std::isfinite(largest(0, item.outer_rows) * largest(item.outer_rows, item.numel));
}

void LaunchAllFinite(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ListState&>(state);
  bool finite = true;
  for (size_t i = 0; i < s.tensors.size() && finite; ++i) {
    finite = s.tensors[i].dtype == DType::kFloat32 ? ItemFinite<float>(s.tensors[i], ptrs[i])
                                                   : ItemFinite<double>(s.tensors[i], ptrs[i]);
  }
  *static_cast<bool*>(ptrs[s.tensors.size()]) = finite;
}

void LaunchGlobalNorm(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ListState&>(state);
  double sum = 0;
  for (size_t i = 0; i < s.tensors.size(); ++i) {
    const auto [dtype, numel, outer_rows] = s.tensors[i];
    sum += dtype == DType::kFloat32
               ? static_cast<double>(SumOfSquares(static_cast<const float*>(ptrs[i]), numel))
               : SumOfSquares(static_cast<const double*>(ptrs[i]), numel);
  }
  *static_cast<float*>(ptrs[s.tensors.size()]) = static_cast<float>(std::sqrt(sum));
}

constexpr KernelDef kKernels[] = {
    {&ops::kSgdUpdate, "multi_tensor", SupportsUpdate, PrepareSgd, LaunchSgd, AliasUpdate},
    {&ops::kMomentumUpdate, "multi_tensor", SupportsUpdate, PrepareMomentum, LaunchSgd,
     AliasUpdate},
    {&ops::kAdamUpdate, "multi_tensor", SupportsUpdate, PrepareAdam, LaunchAdam, AliasUpdate},
    {&ops::kAdagradUpdate, "multi_tensor", SupportsUpdate, PrepareAdagrad, LaunchAdagrad,
     AliasUpdate},
    {&ops::kAllFinite, "multi_tensor", SupportsList, PrepareAllFinite, LaunchAllFinite},
    {&ops::kGlobalNorm, "multi_tensor", SupportsList, PrepareList, LaunchGlobalNorm},
};

}  // namespace

std::span<const KernelDef> OptimKernels() { return kKernels; }

}  // namespace ostria::cpu
