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

// The variables that take the same step: of one rate, decaying or not.
struct Alike {
  int64_t rate = 0;
  bool decays = false;
  std::vector<int> members;
};

struct UpdateState : KernelState {
  DType dtype = DType::kFloat32;
  ops::UpdateForm form;
  int n = 0;
  OptimizerRule rule = OptimizerRule::kSgd;
  double attrs[kMaxRuleNumbers] = {};  // the op's own
  std::vector<int64_t> numel, outer_rows;
  std::vector<int64_t> rows_begin;  // where the rows of a gradient stand in operand `rows`
  std::vector<int64_t> row_size;    // > 0: updated row by row
  bool has_rows = false, lazy = false;
  std::vector<size_t> output_bytes;
  std::vector<Alike> kinds;
  double weight_decay = 0;
  DType step_dtype = DType::kInt64;
};

struct Implementation {
  const OpDef* op;
  OptimizerRule rule;
};
constexpr Implementation kElementwise[] = {
    {&ops::kSgdUpdate, OptimizerRule::kSgd},
    {&ops::kMomentumUpdate, OptimizerRule::kMomentum},
    {&ops::kAdamUpdate, OptimizerRule::kAdam},
    {&ops::kAdagradUpdate, OptimizerRule::kAdagrad},
    {&ops::kRmspropUpdate, OptimizerRule::kRmsprop},
    {&ops::kRmspropMomentumUpdate, OptimizerRule::kRmspropMomentum},
    {&ops::kRmspropCenteredUpdate, OptimizerRule::kRmspropCentered},
    {&ops::kAdadeltaUpdate, OptimizerRule::kAdadelta},
    {&ops::kAdamaxUpdate, OptimizerRule::kAdamax},
    {&ops::kNadamUpdate, OptimizerRule::kNadam},
    {&ops::kFtrlUpdate, OptimizerRule::kFtrl},
    {&ops::kLionUpdate, OptimizerRule::kLion},
};

Support SupportsUpdate(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  return NeedsDense(node);
}

double NumberOf(const Attr& attr) {
  return TypeOf(attr) == AttrType::kBool ? std::get<bool>(attr) : std::get<double>(attr);
}

std::unique_ptr<UpdateState> Make(const NodeDesc& node) {
  auto state = std::make_unique<UpdateState>();
  state->dtype = node.inputs[0].dtype;
  state->form = ops::FormOf(*node.op);
  state->n = state->form.count(node.inputs.size());
  for (int i = 0; i < state->form.own_attrs; ++i) state->attrs[i] = NumberOf(node.attrs[i]);
  const ops::Segments segments(state->form, node.attrs);
  state->weight_decay = segments.weight_decay();
  state->has_rows =
      static_cast<int>(node.inputs.size()) > state->form.groups * state->n + state->form.scalars();
  state->lazy = ops::IsLazy(*node.op, node.attrs);
  int64_t named = 0;
  for (int i = 0; i < state->n; ++i) {
    const MemDesc& w = node.inputs[i];
    const bool by_rows = segments.outer_rows(i) == ops::kByRows;
    state->numel.push_back(w.numel());
    state->outer_rows.push_back(segments.outer_rows(i));
    const int64_t rows = w.rank == 0 ? 1 : w.sizes[0];
    state->row_size.push_back((by_rows || state->lazy) && w.numel() > 0 ? w.numel() / rows : 0);
    state->rows_begin.push_back(named);
    if (by_rows) named += 1 + node.inputs[state->n + i].sizes[0];
    const int64_t rate = segments.rate(i);
    const bool decays = segments.decays(i);
    const auto kind = std::find_if(state->kinds.begin(), state->kinds.end(), [&](const Alike& k) {
      return k.rate == rate && k.decays == decays;
    });
    if (kind != state->kinds.end()) {
      kind->members.push_back(i);
    } else {
      state->kinds.push_back({rate, decays, {i}});
    }
  }
  for (const MemDesc& out : node.outputs) {
    state->output_bytes.push_back(static_cast<size_t>(out.numel()) * SizeOf(out.dtype));
  }
  if (state->form.has_step) {
    state->step_dtype = node.inputs[state->form.groups * state->n + 1].dtype;
  }
  state->detail = Name(CurrentIsa());
  return state;
}

std::unique_ptr<KernelState> PrepareUpdate(const NodeDesc& node) {
  auto state = Make(node);
  for (const Implementation& known : kElementwise) {
    if (known.op == node.op) state->rule = known.rule;
  }
  OSTRIA_CHECK(NumSlots(state->rule) == state->form.groups - 2);
  return state;
}

struct Scalars {
  const float* lr = nullptr;  // one per rate
  double step = 1, grad_scale = 1;
  bool commit = true;
};

double ReadStep(DType dtype, const void* p) {
  return dtype == DType::kInt64 ? static_cast<double>(*static_cast<const int64_t*>(p))
                                : static_cast<double>(*static_cast<const float*>(p));
}

Scalars ReadScalars(const UpdateState& s, void* const* ptrs) {
  void* const* p = ptrs + s.form.groups * s.n;
  Scalars out;
  out.lr = static_cast<const float*>(*p++);
  if (s.form.has_step) out.step = ReadStep(s.step_dtype, *p++);
  out.grad_scale = *static_cast<const float*>(*p++);
  out.commit = *static_cast<const bool*>(*p);
  return out;
}

void* const* OutputsOf(const UpdateState& s, void* const* ptrs) {
  return ptrs + s.form.groups * s.n + s.form.scalars() + (s.has_rows ? 1 : 0);
}

// Copies what variable `i` does not update in place; returns whether nothing was to copy.
bool CopyForward(const UpdateState& s, void* const* ptrs, int i) {
  void* const* outputs = OutputsOf(s, ptrs);
  bool in_place = true;
  for (int k = 0; k < s.form.outputs(); ++k) {
    const void* from = ptrs[(k == 0 ? 0 : k + 1) * s.n + i];
    void* to = outputs[k * s.n + i];
    if (from == to) continue;
    in_place = false;
    if (const size_t bytes = s.output_bytes[k * s.n + i]; bytes > 0) std::memcpy(to, from, bytes);
  }
  return in_place;
}

/// Joined variables, handed on a few at a time.
template <class T, class Update>
class Runs {
 public:
  Runs(int slots, Update update) : slots_(slots), update_(update) {}
  ~Runs() { Flush(); }
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  void Add(const OptimizerSegment<T>& now, bool joins) {
    if (joins && joins_ && Follows(now)) {
      OptimizerSegment<T>& last = segments_[count_ - 1];
      last.n = Padded(last.n) + now.n;
      return;
    }
    if (count_ == kMax) Flush();
    segments_[count_++] = now;
    joins_ = joins;
  }

 private:
  static constexpr int kMax = 64;
  static int64_t Padded(int64_t n) {
    constexpr int64_t kPad = kAlignment / sizeof(T);
    return (n + kPad - 1) / kPad * kPad;
  }
  bool Follows(const OptimizerSegment<T>& now) const {
    if (count_ == 0) return false;
    const OptimizerSegment<T>& last = segments_[count_ - 1];
    const int64_t room = Padded(last.n);
    bool follows = now.w == last.w + room && now.g == last.g + room;
    for (int k = 0; k < slots_; ++k) follows &= now.slots[k] == last.slots[k] + room;
    return follows;
  }
  void Flush() {
    if (count_ > 0) update_(segments_, count_);
    count_ = 0;
  }

  OptimizerSegment<T> segments_[kMax];
  int count_ = 0, slots_;
  bool joins_ = false;  // whether a neighbour may be joined to the last one
  Update update_;
};

// Calls fn with a null pointer of the weights' type.
template <class Fn>
void ForType(DType dtype, Fn fn) {
  if (dtype == DType::kFloat32) {
    fn(static_cast<float*>(nullptr));
  } else {
    fn(static_cast<double*>(nullptr));
  }
}

// Makes variable `i` one that is updated row by row: all of its rows, or those named.
template <class T>
void SetRows(const UpdateState& s, void* const* ptrs, int i, OptimizerSegment<T>* now) {
  now->cols = s.row_size[i];
  now->rows = now->n / now->cols;
  now->lazy = s.lazy;
  if (s.outer_rows[i] != ops::kByRows) return;
  const void* rows = ptrs[s.form.groups * s.n + s.form.scalars()];
  const int32_t* named = static_cast<const int32_t*>(rows) + s.rows_begin[i];
  now->rows = named[0];
  now->ids = named + 1;
  now->n = now->rows * now->cols;
}

// With commit false nothing but copies happens.
template <class T>
void UpdateAlike(const UpdateState& s, const Scalars& v, const Alike& kind, void* const* ptrs) {
  const UpdateParams params = ParamsOf(s.rule, s.attrs, v.lr[kind.rate], v.step,
                                       kind.decays ? s.weight_decay : 0, v.grad_scale);
  const auto update = [&](const OptimizerSegment<T>* segments, int count) {
    UpdateSegments(s.rule, params, segments, count);
  };
  void* const* outputs = OutputsOf(s, ptrs);
  Runs<T, decltype(update)> runs(s.form.groups - 2, update);
  for (int i : kind.members) {
    const bool in_place = CopyForward(s, ptrs, i);
    if (!v.commit || s.numel[i] == 0) continue;
    OptimizerSegment<T> now = {};
    now.w = static_cast<T*>(outputs[i]);
    now.g = static_cast<const T*>(ptrs[s.n + i]);
    for (int k = 1; k < s.form.outputs(); ++k) {
      now.slots[k - 1] = static_cast<T*>(outputs[k * s.n + i]);
    }
    now.n = s.numel[i];
    const int64_t column = s.outer_rows[i];
    if (s.row_size[i] > 0) {
      SetRows(s, ptrs, i, &now);
      if (now.rows == 0) continue;
    } else if (column > 0) {
      now.column = now.g;
      now.g += column;
      now.cols = now.n / column;
    }
    runs.Add(now, in_place && column == 0 && s.row_size[i] == 0);
  }
}

void LaunchUpdate(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const UpdateState&>(state);
  const Scalars v = ReadScalars(s, ptrs);
  ForType(s.dtype, [&]<class T>(T*) {
    for (const Alike& kind : s.kinds) UpdateAlike<T>(s, v, kind, ptrs);
  });
}

// --- updates by norms: one variable at a time ---------------------------------------------------

// Copies what is not in place; calls update(i, lr, what w is multiplied by) for every variable that
// is to change.
template <class Update>
void ForVariables(const UpdateState& s, const Scalars& v, void* const* ptrs, Update update) {
  for (const Alike& kind : s.kinds) {
    const double lr = v.lr[kind.rate];
    for (int i : kind.members) {
      CopyForward(s, ptrs, i);
      if (v.commit && s.numel[i] > 0) update(i, lr, 1 - lr * (kind.decays ? s.weight_decay : 0));
    }
  }
}

std::unique_ptr<KernelState> PrepareLamb(const NodeDesc& node) { return Make(node); }

void LaunchLamb(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const UpdateState&>(state);
  const Scalars v = ReadScalars(s, ptrs);
  void* const* out = OutputsOf(s, ptrs);
  LambParams p{s.attrs[0],
               s.attrs[1],
               s.attrs[2],
               1 - std::pow(s.attrs[0], v.step),
               1 - std::pow(s.attrs[1], v.step),
               1,
               v.grad_scale};
  ForType(s.dtype, [&]<class T>(T*) {
    ForVariables(s, v, ptrs, [&](int i, double lr, double keep) {
      p.keep = keep;
      LambUpdate(p, lr, static_cast<T*>(out[i]), static_cast<const T*>(ptrs[s.n + i]),
                 static_cast<T*>(out[s.n + i]), static_cast<T*>(out[2 * s.n + i]), s.numel[i]);
    });
  });
}

struct AdafactorState : UpdateState {
  struct Matrices {
    int64_t count, rows, cols;  // rows 0: a vector
  };
  std::vector<Matrices> matrices;
};

std::unique_ptr<KernelState> PrepareAdafactor(const NodeDesc& node) {
  auto state = std::make_unique<AdafactorState>();
  static_cast<UpdateState&>(*state) = std::move(*Make(node));
  for (int i = 0; i < state->n; ++i) {
    const MemDesc& w = node.inputs[i];
    const int rank = w.rank;
    if (rank < 2) {
      state->matrices.push_back({1, 0, w.numel()});
      continue;
    }
    AdafactorState::Matrices m = {1, w.sizes[rank - 2], w.sizes[rank - 1]};
    for (int axis = 0; axis < rank - 2; ++axis) m.count *= w.sizes[axis];
    state->matrices.push_back(m);
  }
  return state;
}

void LaunchAdafactor(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AdafactorState&>(state);
  const Scalars v = ReadScalars(s, ptrs);
  void* const* out = OutputsOf(s, ptrs);
  AdafactorOptions o = {};
  o.forget = std::pow(v.step, s.attrs[0]);
  o.epsilon1 = s.attrs[1];
  o.epsilon2 = s.attrs[2];
  o.clip_threshold = s.attrs[3];
  o.grad_scale = v.grad_scale;
  ForType(s.dtype, [&]<class T>(T*) {
    ForVariables(s, v, ptrs, [&](int i, double lr, double keep) {
      o.rate = std::min(lr, 1 / std::sqrt(v.step));
      o.keep = keep;
      const auto& [count, rows, cols] = s.matrices[i];
      AdafactorUpdate(o, static_cast<T*>(out[i]), static_cast<const T*>(ptrs[s.n + i]),
                      static_cast<T*>(out[s.n + i]), static_cast<T*>(out[2 * s.n + i]), count, rows,
                      cols);
    });
  });
}

// --- averages of weights ------------------------------------------------------------------------

struct EmaState : KernelState {
  DType dtype = DType::kFloat32;
  int n = 0;
  std::vector<int64_t> numel;
  double momentum = 0;
  int64_t frequency = 0;
};

std::unique_ptr<KernelState> PrepareEma(const NodeDesc& node) {
  auto state = std::make_unique<EmaState>();
  state->dtype = node.inputs[0].dtype;
  state->n = static_cast<int>(node.outputs.size()) / 2;
  for (int i = 0; i < state->n; ++i) state->numel.push_back(node.inputs[i].numel());
  state->momentum = node.attr<double>(0);
  state->frequency = node.attr<int64_t>(1);
  state->detail = Name(CurrentIsa());
  return state;
}

void LaunchEma(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const EmaState&>(state);
  const int64_t step = *static_cast<const int64_t*>(ptrs[2 * s.n]);
  const bool commit = *static_cast<const bool*>(ptrs[2 * s.n + 1]);
  const bool overwrites = commit && s.frequency > 0 && step % s.frequency == 0;
  void* const* out = ptrs + 2 * s.n + 2;
  const double share = step <= 1 ? 0 : s.momentum;
  const UpdateParams params = ParamsOf(OptimizerRule::kEma, &share, 0, 0, 0, 1);
  ForType(s.dtype, [&]<class T>(T*) {
    const auto update = [&](const OptimizerSegment<T>* segments, int count) {
      UpdateSegments(OptimizerRule::kEma, params, segments, count);
    };
    const auto bytes = [&](int i) { return static_cast<size_t>(s.numel[i]) * sizeof(T); };
    const auto copy = [&](void* to, const void* from, int i) {
      if (to != from && bytes(i) > 0) std::memcpy(to, from, bytes(i));
    };
    {
      Runs<T, decltype(update)> runs(0, update);
      for (int i = 0; i < s.n; ++i) {
        copy(out[i], ptrs[i], i);
        if (!commit || s.numel[i] == 0) continue;
        OptimizerSegment<T> now = {};
        now.w = static_cast<T*>(out[i]);
        now.g = static_cast<const T*>(ptrs[s.n + i]);
        now.n = s.numel[i];
        runs.Add(now, out[i] == ptrs[i]);
      }
    }
    for (int i = 0; i < s.n; ++i) copy(out[s.n + i], overwrites ? out[i] : ptrs[s.n + i], i);
  });
}

bool AliasEma(const NodeDesc&, int out, int in) { return out == in; }

// Output k, i is the variable or slot of input group 0, 2, 3, …
bool AliasUpdate(const NodeDesc& node, int out, int in) {
  const int n = static_cast<int>(node.outputs.size()) / ops::FormOf(*node.op).outputs();
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

constexpr KernelDef Elementwise(const OpDef* op) {
  return {op, "multi_tensor", SupportsUpdate, PrepareUpdate, LaunchUpdate, AliasUpdate};
}

constexpr KernelDef kKernels[] = {
    Elementwise(&ops::kSgdUpdate),
    Elementwise(&ops::kMomentumUpdate),
    Elementwise(&ops::kAdamUpdate),
    Elementwise(&ops::kAdagradUpdate),
    Elementwise(&ops::kRmspropUpdate),
    Elementwise(&ops::kRmspropMomentumUpdate),
    Elementwise(&ops::kRmspropCenteredUpdate),
    Elementwise(&ops::kAdadeltaUpdate),
    Elementwise(&ops::kAdamaxUpdate),
    Elementwise(&ops::kNadamUpdate),
    Elementwise(&ops::kFtrlUpdate),
    Elementwise(&ops::kLionUpdate),
    {&ops::kLambUpdate, "multi_tensor", SupportsUpdate, PrepareLamb, LaunchLamb, AliasUpdate},
    {&ops::kAdafactorUpdate, "multi_tensor", SupportsUpdate, PrepareAdafactor, LaunchAdafactor,
     AliasUpdate},
    {&ops::kEmaUpdate, "multi_tensor", SupportsUpdate, PrepareEma, LaunchEma, AliasEma},
    {&ops::kAllFinite, "multi_tensor", SupportsList, PrepareAllFinite, LaunchAllFinite},
    {&ops::kGlobalNorm, "multi_tensor", SupportsList, PrepareList, LaunchGlobalNorm},
};

}  // namespace

std::span<const KernelDef> OptimKernels() { return kKernels; }

}  // namespace ostria::cpu
