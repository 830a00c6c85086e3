// SPDX-License-Identifier: Apache-2.0
// simple_rnn, gru and lstm and their gradients for float32 and float64. What does not depend on the
// step before (the products with x, the gradients of weights) is one large product each; a step is
// one loop over units, so it costs one barrier. Recurrent weights are packed once per call, and
// where they last, once for all calls forward.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/product.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/dense_table.h"
#include "backend/cpu/simd/recurrent_table.h"
#include "base/parallel.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

// A second core pays from so many operations of a step (as for oneDNN's primitives).
constexpr double kFlopsPerThread = 4e5;
constexpr int64_t kCacheLine = 64;

template <class T>
const RecurrentKernels<T>& Table() {
  const RecurrentTable& table = OfCurrentIsa(kRecurrentBaseline, kRecurrentAvx2, kRecurrentAvx512);
  if constexpr (sizeof(T) == 4) {
    return table.f32;
  } else {
    return table.f64;
  }
}

struct RecurrentState : KernelState {
  DType dtype = DType::kFloat32, lengths_dtype = DType::kInt64;
  RecurrentCell cell = RecurrentCell::kLstm;
  bool reverse = false, has_lengths = false;
  // gates: of the recurrent product; stored: kept per step for the gradient.
  int64_t batch = 0, time = 0, units = 0, gates = 0, stored = 0;
  int64_t group = 1, groups = 1, grain = 1, state_row = 0;
  std::vector<Product> products;
  // Places in the workspace, in bytes.
  int64_t at_weights = 0, at_state = 0, at_lengths = 0, at_c = 0, at_dgates = 0, at_h = 0,
          at_sums = 0, at_product = 0;

  int64_t Take(int64_t bytes) {
    const int64_t at = workspace_bytes;
    workspace_bytes += (bytes + 255) / 256 * 256;
    return at;
  }
};

template <class T>
T* Place(void* workspace, int64_t at) {
  return reinterpret_cast<T*>(static_cast<char*>(workspace) + at);
}

RecurrentCell CellOf(const NodeDesc& node) {
  if (node.op == &ops::kLstm || node.op == &ops::kLstmGrad) return RecurrentCell::kLstm;
  if (node.op == &ops::kGru || node.op == &ops::kGruGrad) return RecurrentCell::kGru;
  const bool relu = node.attr<std::string>(ops::RecurrentAttr::kActivation) == "relu";
  return relu ? RecurrentCell::kRelu : RecurrentCell::kTanh;
}

Support Supports(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  return NeedsDense(node);
}

// `x`: the position of x among the inputs, which kernel and recurrent_kernel follow.
std::unique_ptr<RecurrentState> Describe(const NodeDesc& node, int x, int required) {
  auto s = std::make_unique<RecurrentState>();
  s->dtype = node.inputs[0].dtype;
  s->cell = CellOf(node);
  s->reverse = node.attr<bool>(ops::RecurrentAttr::kReverse);
  s->has_lengths = static_cast<int>(node.inputs.size()) > required;
  if (s->has_lengths) s->lengths_dtype = node.inputs[required].dtype;
  s->batch = node.inputs[x].sizes[0];
  s->time = node.inputs[x].sizes[1];
  s->units = node.inputs[x + 2].sizes[0];
  s->gates = node.inputs[x + 2].sizes[1] / s->units;
  s->stored = s->gates == 1 ? 1 : 4;
  s->detail = Name(CurrentIsa());
  return s;
}

void PlanSteps(RecurrentState* s, int64_t group, int64_t k, int64_t vectors_per_unit) {
  const int64_t size = SizeOf(s->dtype);
  s->group = group;
  s->groups = (s->units + group - 1) / group;
  const double flops = 2.0 * static_cast<double>(s->batch * k * group * vectors_per_unit);
  s->grain = std::max<int64_t>(1, static_cast<int64_t>(kFlopsPerThread / std::max(1.0, flops)));
  // Rows a power of two apart would share the few ways of one set of the cache.
  s->state_row = k + kCacheLine / size;
  const int64_t weights = s->groups * group * vectors_per_unit * k * size;
  if (s->packed_input >= 0) {
    s->packed_bytes = weights;
  } else {
    s->at_weights = s->Take(weights);
  }
  s->at_state = s->Take(2 * s->batch * s->state_row * size);
  s->at_lengths = s->Take(s->batch * 8);
}

int64_t MostWorkspace(const RecurrentState& s) {
  int64_t most = 0;
  for (const Product& p : s.products) most = std::max(most, p.workspace_bytes());
  return most;
}

template <class Fn>
void ForGroups(const RecurrentState& s, Fn fn) {
  ParallelFor(s.groups, s.grain, fn);
}

// Lengths as int64; null where every row has all steps.
const int64_t* ReadLengths(const RecurrentState& s, const void* lengths, void* workspace) {
  if (!s.has_lengths) return nullptr;
  int64_t* out = Place<int64_t>(workspace, s.at_lengths);
  for (int64_t r = 0; r < s.batch; ++r) {
    out[r] = s.lengths_dtype == DType::kInt64 ? static_cast<const int64_t*>(lengths)[r]
                                              : static_cast<const int32_t*>(lengths)[r];
    out[r] = std::clamp<int64_t>(out[r], 0, s.time);
  }
  return out;
}

template <class T>
RecurrentStep<T> Common(const RecurrentState& s, const void* lengths, void* workspace) {
  RecurrentStep<T> step = {};
  step.batch = s.batch;
  step.units = s.units;
  step.weights = Place<T>(workspace, s.at_weights);
  step.lengths = ReadLengths(s, lengths, workspace);
  step.state_row = s.state_row;
  step.y_row = s.time * s.units;
  step.cells_row = s.time * s.units;
  step.gates_row = s.time * s.units * s.stored;
  step.reverse = s.reverse;
  return step;
}

template <class Step, class Fn>
void RunStep(const RecurrentState& s, const Step& step, Fn fn) {
  ForGroups(s, [&](int64_t first, int64_t last) {
    Step part = step;
    part.first = first;
    part.last = last;
    fn(part);
  });
}

// --- forward -----------------------------------------------------------------------------------

constexpr int kRecurrentKernel = 2;  // among the inputs

template <class T>
void PackForward(const RecurrentState& s, const void* from, void* to) {
  const int64_t units = s.units, width = s.gates * units;
  ForGroups(s, [&](int64_t first, int64_t last) {
    Table<T>().pack(static_cast<const T*>(from), units, width, 1, s.gates, units, s.group, first,
                    last, static_cast<T*>(to));
  });
}

std::unique_ptr<KernelState> PrepareForward(const NodeDesc& node) {
  const bool lstm = node.op == &ops::kLstm;
  auto s = Describe(node, 0, lstm ? 6 : 5);
  const int64_t features = node.inputs[0].sizes[2], rows = s->batch * s->time;
  const int64_t group =
      s->dtype == DType::kFloat32 ? Table<float>().forward_group : Table<double>().forward_group;
  if (node.Lasts(kRecurrentKernel)) s->packed_input = kRecurrentKernel;
  PlanSteps(s.get(), group, s->units, s->gates);
  s->products.emplace_back(node.device, Matrix(s->dtype, rows, features, features),
                           Matrix(s->dtype, features, s->gates * s->units, s->gates * s->units),
                           Matrix(s->dtype, rows, s->gates * s->units, s->stored * s->units), false,
                           false, true);
  s->at_product = s->Take(MostWorkspace(*s));
  s->detail += StrCat(", product by ", s->products[0].impl());
  return s;
}

template <class T>
void Forward(const RecurrentState& s, void* const* ptrs) {
  const bool lstm = s.cell == RecurrentCell::kLstm, gru = s.cell == RecurrentCell::kGru;
  const int inputs = (lstm ? 6 : 5) + (s.has_lengths ? 1 : 0);
  void* const* out = ptrs + inputs;
  void* workspace = out[lstm ? 5 : gru ? 3 : 2];
  const RecurrentKernels<T>& table = Table<T>();
  RecurrentStep<T> step = Common<T>(s, ptrs[inputs - 1], workspace);
  T* const y = static_cast<T*>(out[0]);
  T* const gates = static_cast<T*>(lstm ? out[3] : gru ? out[2] : out[0]);
  T* const cells = lstm ? static_cast<T*>(out[4]) : nullptr;
  const int64_t units = s.units, width = s.gates * units;
  const T* bias = static_cast<const T*>(ptrs[3]);
  s.products[0].Run(ptrs[0], ptrs[1], bias, gates, Place<char>(workspace, s.at_product));
  if (s.packed_input >= 0) {
    step.weights = static_cast<const T*>(ptrs[kRecurrentKernel]);
  } else {
    PackForward<T>(s, ptrs[kRecurrentKernel], Place<T>(workspace, s.at_weights));
  }
  T* state[2] = {Place<T>(workspace, s.at_state),
                 Place<T>(workspace, s.at_state) + s.batch * s.state_row};
  for (int64_t r = 0; r < s.batch; ++r) {
    std::memcpy(state[0] + r * s.state_row, static_cast<const T*>(ptrs[4]) + r * units,
                units * sizeof(T));
  }
  if (lstm) {
    step.c = static_cast<T*>(out[2]);
    std::memcpy(out[2], ptrs[5], s.batch * units * sizeof(T));
  }
  step.k = units;
  step.bias = bias + width;  // gru's second row
  for (int64_t i = 0; i < s.time; ++i) {
    const int64_t t = s.reverse ? s.time - 1 - i : i;
    step.place = t;
    step.state = state[i % 2];
    step.next_state = state[(i + 1) % 2];
    step.gates = gates + t * units * s.stored;
    step.y = y + t * units;
    step.cells = lstm ? cells + t * units : nullptr;
    RunStep(s, step, table.forward[static_cast<int>(s.cell)]);
  }
  for (int64_t r = 0; r < s.batch; ++r) {
    std::memcpy(static_cast<T*>(out[1]) + r * units, state[s.time % 2] + r * s.state_row,
                units * sizeof(T));
  }
}

void LaunchForward(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RecurrentState&>(state);
  s.dtype == DType::kFloat32 ? Forward<float>(s, ptrs) : Forward<double>(s, ptrs);
}

void PackRecurrent(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RecurrentState&>(state);
  s.dtype == DType::kFloat32 ? PackForward<float>(s, ptrs[0], ptrs[1])
                             : PackForward<double>(s, ptrs[0], ptrs[1]);
}

// --- backward ----------------------------------------------------------------------------------

// Positions of a gradient's inputs; -1 where its op has none.
struct GradInputs {
  int x, h, c, y, gates, cells, required;
};
GradInputs InputsOf(RecurrentCell cell) {
  if (cell == RecurrentCell::kLstm) return {3, 6, 7, 8, 9, 10, 11};
  if (cell == RecurrentCell::kGru) return {2, 5, -1, 6, 7, -1, 8};
  return {2, 5, -1, 6, -1, -1, 7};
}

enum : int { kDx, kDKernel, kDRecurrent, kDCandidate /* gru: the last third of kDRecurrent */ };

std::unique_ptr<KernelState> PrepareBackward(const NodeDesc& node) {
  const GradInputs at = InputsOf(CellOf(node));
  auto s = Describe(node, at.x, at.required);
  const DType t = s->dtype;
  const int64_t size = SizeOf(t), features = node.inputs[at.x].sizes[2];
  const int64_t rows = s->batch * s->time, units = s->units, width = s->gates * units,
                stride = s->stored * units;
  const bool gru = s->cell == RecurrentCell::kGru;
  const int64_t group =
      t == DType::kFloat32 ? Table<float>().backward_group : Table<double>().backward_group;
  PlanSteps(s.get(), group, width, 1);
  s->at_dgates = s->Take(rows * stride * size);
  s->at_h = s->Take(rows * units * size);
  s->at_sums = s->Take(stride * size);
  const MemDesc x = Matrix(t, rows, features, features), h = Matrix(t, rows, units, units),
                d = Matrix(t, rows, width, stride);
  s->products.emplace_back(node.device, d, Matrix(t, features, width, width), x, false, true,
                           false);
  s->products.emplace_back(node.device, x, d, Matrix(t, features, width, width), true, false,
                           false);
  const int64_t most = gru ? 2 * units : width;
  s->products.emplace_back(node.device, h, Matrix(t, rows, most, stride),
                           Matrix(t, units, most, width), true, false, false);
  if (gru) {
    s->products.emplace_back(node.device, h, Matrix(t, rows, units, stride),
                             Matrix(t, units, units, width), true, false, false);
  }
  s->at_product = s->Take(MostWorkspace(*s));
  s->detail += StrCat(", products by ", s->products[0].impl());
  return s;
}

template <class T>
void SumColumns(const T* x, int64_t rows, int64_t cols, T* out) {
  constexpr int64_t kColumns = 64;
  ParallelFor((cols + kColumns - 1) / kColumns, std::max<int64_t>(1, (1 << 12) / rows),
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  const int64_t from = i * kColumns, n = std::min(kColumns, cols - from);
                  DenseOf<T>().fold_columns[static_cast<int>(FoldOp::kSum)](x + from, rows, n, cols,
                                                                            out + from);
                }
              });
}

template <class T>
void Backward(const RecurrentState& s, void* const* ptrs) {
  const GradInputs at = InputsOf(s.cell);
  const bool lstm = s.cell == RecurrentCell::kLstm, gru = s.cell == RecurrentCell::kGru;
  const int inputs = at.required + (s.has_lengths ? 1 : 0);
  void* const* out = ptrs + inputs;
  void* workspace = out[lstm ? 6 : 5];
  const auto input = [&](int i) { return static_cast<T*>(ptrs[i]); };
  const int64_t units = s.units, width = s.gates * units, rows = s.batch * s.time;
  const RecurrentKernels<T>& table = Table<T>();
  RecurrentStep<T> step = Common<T>(s, ptrs[inputs - 1], workspace);
  T* weights = Place<T>(workspace, s.at_weights);
  ForGroups(s, [&](int64_t first, int64_t last) {
    table.pack(input(at.x + 2), width, 1, width, 1, units, s.group, first, last, weights);
  });
  T* state[2] = {Place<T>(workspace, s.at_state),
                 Place<T>(workspace, s.at_state) + s.batch * s.state_row};
  T *dgates = Place<T>(workspace, s.at_dgates), *h_copy = Place<T>(workspace, s.at_h);
  step.dh = static_cast<T*>(out[4]);
  std::memcpy(out[4], ptrs[1], s.batch * units * sizeof(T));
  if (lstm) {
    step.c = static_cast<T*>(out[5]);
    std::memcpy(out[5], ptrs[2], s.batch * units * sizeof(T));
  }
  step.dgates_row = step.gates_row;
  step.h_first = input(at.h);
  step.c_first = lstm ? input(at.c) : nullptr;
  for (int64_t i = s.time - 1; i >= 0; --i) {
    const int64_t t = s.reverse ? s.time - 1 - i : i, before = s.reverse ? t + 1 : t - 1;
    step.k = i == s.time - 1 ? 0 : width;  // nothing comes after the last step
    step.place = t;
    step.state = state[(i + 1) % 2];
    step.next_state = state[i % 2];
    step.gates = at.gates < 0 ? nullptr : input(at.gates) + t * units * s.stored;
    step.y = input(at.y) + t * units;
    step.cells = lstm ? input(at.cells) + t * units : nullptr;
    step.h_before = i == 0 ? step.h_first : input(at.y) + before * units;
    step.h_before_row = i == 0 ? units : step.y_row;
    if (lstm) {
      step.c_before = i == 0 ? step.c_first : input(at.cells) + before * units;
      step.c_before_row = step.h_before_row;
    }
    step.dy = input(0) + t * units;
    step.dgates = dgates + t * units * s.stored;
    step.h_copy = h_copy + t * units;
    RunStep(s, step, table.backward[static_cast<int>(s.cell)]);
  }
  step.k = width;
  step.state = state[0];
  RunStep(s, step, table.end);

  void* scratch = Place<char>(workspace, s.at_product);
  T* drecurrent = static_cast<T*>(out[2]);
  s.products[kDx].Run(dgates, input(at.x + 1), nullptr, out[0], scratch);
  s.products[kDKernel].Run(input(at.x), dgates, nullptr, out[1], scratch);
  s.products[kDRecurrent].Run(h_copy, dgates, nullptr, drecurrent, scratch);
  T* dbias = static_cast<T*>(out[3]);
  if (!gru) return SumColumns(dgates, rows, width, dbias);
  s.products[kDCandidate].Run(h_copy, dgates + 3 * units, nullptr, drecurrent + 2 * units, scratch);
  T* sums = Place<T>(workspace, s.at_sums);
  SumColumns(dgates, rows, 4 * units, sums);
  std::memcpy(dbias, sums, width * sizeof(T));
  std::memcpy(dbias + width, sums, 2 * units * sizeof(T));
  std::memcpy(dbias + width + 2 * units, sums + 3 * units, units * sizeof(T));
}

void LaunchBackward(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RecurrentState&>(state);
  s.dtype == DType::kFloat32 ? Backward<float>(s, ptrs) : Backward<double>(s, ptrs);
}

constexpr KernelDef kKernels[] = {
    {&ops::kSimpleRnn, "steps", Supports, PrepareForward, LaunchForward, nullptr, PackRecurrent},
    {&ops::kGru, "steps", Supports, PrepareForward, LaunchForward, nullptr, PackRecurrent},
    {&ops::kLstm, "steps", Supports, PrepareForward, LaunchForward, nullptr, PackRecurrent},
    {&ops::kSimpleRnnGrad, "steps", Supports, PrepareBackward, LaunchBackward},
    {&ops::kGruGrad, "steps", Supports, PrepareBackward, LaunchBackward},
    {&ops::kLstmGrad, "steps", Supports, PrepareBackward, LaunchBackward},
};

}  // namespace

std::span<const KernelDef> RecurrentOpKernels() { return kKernels; }

}  // namespace ostria::cpu
