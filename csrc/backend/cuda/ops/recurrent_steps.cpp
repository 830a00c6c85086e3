// SPDX-License-Identifier: Apache-2.0
// lstm and gru as products of all steps at once and, for each step, one product and one kernel of
// ours: for layers with lengths, backwards, or where cuDNN is not wanted. Gradients multiply for
// the inputs and the weights once, over all steps.
#include <optional>
#include <vector>

#include "backend/cuda/cublaslt/matmul.h"
#include "backend/cuda/cublaslt/product.h"
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/recurrent/cell.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::RecurrentBiasParams;
using kernels::RecurrentCellGradParams;
using kernels::RecurrentCellParams;

constexpr int64_t kProductWorkspace = int64_t{32} << 20;
constexpr int64_t kSmallWorkspace = int64_t{4} << 20;
constexpr int64_t kLargeProduct = int64_t{1} << 26;  // elements that are multiplied

// y [m, n] = a [m, k] b [k, n], row-major with rows so far apart; a transposed operand lies as its
// transpose.
struct Matrices {
  int64_t m, n, k;
  int64_t a_row, b_row, y_row;
  bool transpose_a = false, transpose_b = false;
  bool add = false;  // to what y holds
};

struct StepsState : KernelState {
  DType dtype = DType::kFloat32;
  bool lstm = false, grad = false, reverse = false, has_lengths = false, wide_lengths = false;
  int64_t batch = 0, time = 0, features = 0, units = 0;
  std::vector<LtProblem> products;  // by Product or GradProduct
  LaunchShape shape, bias_shape;
  int64_t at_first = 0, at_states = 0, at_sums = 0, at_product = 0;  // in the workspace
  int64_t product_bytes = 0;

  int64_t gates() const { return lstm ? 4 : 3; }
  int64_t size() const { return SizeOf(dtype); }
  std::string Kernel(std::string_view what) const {
    return StrCat(lstm ? "lstm_" : "gru_", what, "_", Suffix(dtype));
  }
  std::vector<std::string> LaunchNames() const override;
};
enum Product { kOfInputs, kOfState };
// gru's candidate has a column of its own for the inputs: a second product adds to the first.
enum GradProduct { kToState, kToInputs, kToKernel, kToRecurrent, kMoreInputs, kMoreKernel };

std::vector<std::string> StepsState::LaunchNames() const {
  std::vector<std::string> names;
  const int of_each_step = grad ? int{kToState} : int{kOfState};
  for (int i = 0; i < static_cast<int>(products.size()); ++i) {
    const int64_t times = i == of_each_step ? time : 1;
    names.insert(names.end(), static_cast<size_t>(times),
                 StrCat("cublaslt ", KeyOf(products[static_cast<size_t>(i)])));
  }
  names.insert(names.end(), static_cast<size_t>(time), Kernel(grad ? "cell_grad" : "cell"));
  if (grad) names.push_back(Kernel("bias"));
  names.insert(names.end(), lstm ? 2 : 1, "copy");  // of states
  return names;
}

LtProblem ProblemOf(DType dtype, bool tf32, const Matrices& x) {
  LtProblem p;
  p.a.type = p.b.type = p.d.type = LtType(dtype);
  if (dtype == DType::kFloat64) {
    p.compute = CUBLAS_COMPUTE_64F;
    p.scale = CUDA_R_64F;
  } else if (tf32) {
    p.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  }
  // The library's matrices are column-major: the transposes, in the other order.
  const auto matrix = [&](int64_t rows, int64_t cols, int64_t ld, LtMatrix* m) {
    m->rows = rows;
    m->cols = cols;
    m->ld = ld;
  };
  p.transpose_a = x.transpose_b;
  matrix(x.transpose_b ? x.k : x.n, x.transpose_b ? x.n : x.k, x.b_row, &p.a);
  p.transpose_b = x.transpose_a;
  matrix(x.transpose_a ? x.m : x.k, x.transpose_a ? x.k : x.m, x.a_row, &p.b);
  matrix(x.n, x.m, x.y_row, &p.d);
  p.add_c = x.add;
  return p;
}

std::unique_ptr<StepsState> Describe(const NodeDesc& node) {
  auto s = std::make_unique<StepsState>();
  s->lstm = node.op == &ops::kLstm || node.op == &ops::kLstmGrad;
  s->grad = node.op == &ops::kLstmGrad || node.op == &ops::kGruGrad;
  // The position of x among the inputs, which kernel and recurrent_kernel follow.
  const int x = !s->grad ? 0 : s->lstm ? 3 : 2;
  const size_t required = s->grad ? (s->lstm ? 11 : 8) : (s->lstm ? 6 : 5);
  s->dtype = node.inputs[0].dtype;
  s->reverse = node.attr<bool>(ops::RecurrentAttr::kReverse);
  s->has_lengths = node.inputs.size() > required;
  if (s->has_lengths) s->wide_lengths = node.inputs[required].dtype == DType::kInt64;
  s->batch = node.inputs[x].sizes[0];
  s->time = node.inputs[x].sizes[1];
  s->features = node.inputs[x].sizes[2];
  s->units = node.inputs[x + 2].sizes[0];
  const int64_t rows = s->batch * s->time, units = s->units, features = s->features,
                columns = s->gates() * units, stored = 4 * units;
  std::vector<Matrices> all;
  if (!s->grad) {
    all = {{rows, columns, features, features, columns, stored},
           {s->batch, columns, units, units, columns, columns}};
  } else {
    const int64_t first = s->lstm ? columns : 2 * units;  // columns that x and h share
    all = {{s->batch, units, columns, s->time * stored, columns, units, false, true, true},
           {rows, features, first, stored, columns, features, false, true},
           {features, first, rows, features, stored, columns, true},
           {units, columns, rows, units, stored, columns, true}};
    if (!s->lstm) {
      all.push_back({rows, features, units, stored, columns, features, false, true, true});
      all.push_back({features, units, rows, features, stored, columns, true});
    }
  }
  for (const Matrices& m : all) {
    s->products.push_back(ProblemOf(s->dtype, node.device->tf32, m));
    const bool large = m.m * m.n * m.k > kLargeProduct;
    s->product_bytes = std::max(s->product_bytes, large ? kProductWorkspace : kSmallWorkspace);
  }
  return s;
}

Support Supports(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  if (Support s = NeedsDense(node); !s.ok) return s;
  const auto described = Describe(node);
  for (const LtProblem& p : described->products) {
    if (Support s = Legal(p); !s.ok) return s;
  }
  return Support::Yes();
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& node) {
  auto s = Describe(node);
  s->shape.grid[0] = GridFor(s->batch * s->units, 1, s->shape.block, *node.device);
  s->bias_shape.grid[0] = GridFor(6 * s->units, 1, s->bias_shape.block, *node.device);
  const auto take = [&](int64_t elements) {
    const int64_t at = s->workspace_bytes;
    s->workspace_bytes += (elements * s->size() + 255) / 256 * 256;
    return at;
  };
  const int64_t rows = s->batch * s->time;
  s->at_first = take(s->grad ? rows * 4 * s->units : s->batch * s->gates() * s->units);
  if (s->grad) {
    s->at_states = take(rows * s->units);
    s->at_sums = take(s->batch * 4 * s->units);
  }
  s->at_product = s->workspace_bytes;
  s->workspace_bytes += s->product_bytes;
  s->detail = StrCat(s->time, " x (product + cell), ", s->batch, "x", s->units);
  return s;
}

// --- on a device -------------------------------------------------------------------------------

// A product by the library's first algorithm, where operands lie on 16-byte boundaries or anywhere.
struct BoundProduct {
  BoundProduct(CudaStream& stream, const LtProblem& problem, int64_t workspace_bytes)
      : aligned(stream, problem), anywhere(stream, Unaligned(problem)) {
    for (const auto& [matmul, algorithm] :
         {std::pair(&aligned, &of_aligned), std::pair(&anywhere, &of_anywhere)}) {
      const auto found = matmul->Algorithms(workspace_bytes, 1);
      if (found.empty()) {
        Fail(ErrorCode::kNotImplemented, "cuBLASLt has no kernel for a product of ", problem.cols(),
             "x", problem.rows(), "x", problem.inner());
      }
      *algorithm = found[0];
    }
  }
  void Run(const void* a, const void* b, void* y, void* workspace) const {
    const auto bits = reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) |
                      reinterpret_cast<uintptr_t>(y);
    const LtOperands operands = {.a = b, .b = a, .c = y, .d = y, .workspace = workspace};
    bits % 16 == 0 ? aligned.Run(of_aligned, operands) : anywhere.Run(of_anywhere, operands);
  }
  LtMatmul aligned, anywhere;
  LtAlgorithm of_aligned, of_anywhere;
};

struct BoundSteps final : KernelState {
  std::shared_ptr<const StepsState> plan;
  CudaStream* stream = nullptr;
  CUfunction cell = nullptr, bias = nullptr;
  std::vector<std::unique_ptr<BoundProduct>> products;
};

std::unique_ptr<KernelState> Bind(const std::shared_ptr<const KernelState>& state,
                                  const BindContext& to) {
  auto b = std::make_unique<BoundSteps>();
  b->plan = std::static_pointer_cast<const StepsState>(state);
  b->stream = &StreamOf(to);
  const StepsState& s = *b->plan;
  const auto kernel = [&](std::string_view what) {
    return StreamOf(to).cuda().Kernel("recurrent/cell", s.Kernel(what));
  };
  b->cell = kernel(s.grad ? "cell_grad" : "cell");
  if (s.grad) b->bias = kernel("bias");
  for (const LtProblem& p : s.products) {
    b->products.push_back(std::make_unique<BoundProduct>(StreamOf(to), p, s.product_bytes));
  }
  return b;
}

char* At(const void* base, int64_t bytes) {
  return const_cast<char*>(static_cast<const char*>(base)) + bytes;
}

void CopyState(const BoundSteps& b, void* to, const void* from) {
  const StepsState& s = *b.plan;
  b.stream->CopyOnDevice(to, from, static_cast<size_t>(s.batch * s.units * s.size()));
}

void LaunchForward(const KernelState& state, void* const* ptrs) {
  const auto& b = static_cast<const BoundSteps&>(state);
  const StepsState& s = *b.plan;
  const int inputs = (s.lstm ? 6 : 5) + (s.has_lengths ? 1 : 0);
  void* const* const out = ptrs + inputs;
  void* const workspace = out[s.lstm ? 5 : 3];
  void* const gates = out[s.lstm ? 3 : 2];
  void* const product = At(workspace, s.at_first);
  void* const scratch = At(workspace, s.at_product);
  b.products[kOfInputs]->Run(ptrs[0], ptrs[1], gates, scratch);
  CopyState(b, out[1], ptrs[4]);
  if (s.lstm) CopyState(b, out[2], ptrs[5]);
  RecurrentCellParams p;
  p.product = product;
  p.bias = ptrs[3];
  p.h = out[1];
  p.c = s.lstm ? out[2] : nullptr;
  p.lengths = s.has_lengths ? ptrs[inputs - 1] : nullptr;
  p.wide_lengths = s.wide_lengths ? 1 : 0;
  p.batch = s.batch;
  p.units = s.units;
  p.time = s.time;
  p.sequence_row = s.time * s.units;
  p.gates_row = 4 * p.sequence_row;
  p.reverse = s.reverse ? 1 : 0;
  for (int64_t i = 0; i < s.time; ++i) {
    p.step = s.reverse ? s.time - 1 - i : i;
    const int64_t bytes = p.step * s.units * s.size();
    p.gates = At(gates, 4 * bytes);
    p.y = At(out[0], bytes);
    p.cells = s.lstm ? At(out[4], bytes) : nullptr;
    b.products[kOfState]->Run(p.h, ptrs[2], product, scratch);
    LaunchKernel(*b.stream, b.cell, s.shape, &p, sizeof p);
  }
}

void LaunchBackward(const KernelState& state, void* const* ptrs) {
  enum Output { kDx, kDKernel, kDRecurrent, kDBias, kDh, kDc };
  const auto& b = static_cast<const BoundSteps&>(state);
  const StepsState& s = *b.plan;
  const int x = s.lstm ? 3 : 2, h = x + 3, y = h + (s.lstm ? 2 : 1);
  const int inputs = (s.lstm ? 11 : 8) + (s.has_lengths ? 1 : 0);
  void* const* const out = ptrs + inputs;
  void* const workspace = out[s.lstm ? 6 : 5];
  void* const dgates = At(workspace, s.at_first);
  void* const states = At(workspace, s.at_states);
  void* const scratch = At(workspace, s.at_product);
  CopyState(b, out[kDh], ptrs[1]);
  if (s.lstm) CopyState(b, out[kDc], ptrs[2]);
  RecurrentCellGradParams p;
  p.first_h = ptrs[h];
  p.first_c = s.lstm ? ptrs[h + 1] : nullptr;
  p.dh = out[kDh];
  p.dc = s.lstm ? out[kDc] : nullptr;
  p.sums = At(workspace, s.at_sums);
  p.lengths = s.has_lengths ? ptrs[inputs - 1] : nullptr;
  p.wide_lengths = s.wide_lengths ? 1 : 0;
  p.batch = s.batch;
  p.units = s.units;
  p.time = s.time;
  p.sequence_row = s.time * s.units;
  p.gates_row = 4 * p.sequence_row;
  p.reverse = s.reverse ? 1 : 0;
  for (int64_t i = s.time - 1; i >= 0; --i) {
    p.step = s.reverse ? s.time - 1 - i : i;
    const int64_t bytes = p.step * s.units * s.size();
    // Of the step taken before; never read where there is none.
    const int64_t before = i == 0 ? bytes : bytes + (s.reverse ? 1 : -1) * s.units * s.size();
    p.starts = i == s.time - 1 ? 1 : 0;
    p.gates = At(ptrs[y + 1], 4 * bytes);
    p.before = At(ptrs[y], before);
    if (s.lstm) {
      p.cells = At(ptrs[y + 2], bytes);
      p.cells_before = At(ptrs[y + 2], before);
    }
    p.dy = At(ptrs[0], bytes);
    p.dgates = At(dgates, 4 * bytes);
    p.states = At(states, bytes);
    LaunchKernel(*b.stream, b.cell, s.shape, &p, sizeof p);
    b.products[kToState]->Run(p.dgates, ptrs[x + 2], out[kDh], scratch);
  }
  b.products[kToInputs]->Run(dgates, ptrs[x + 1], out[kDx], scratch);
  b.products[kToKernel]->Run(ptrs[x], dgates, out[kDKernel], scratch);
  b.products[kToRecurrent]->Run(states, dgates, out[kDRecurrent], scratch);
  if (!s.lstm) {
    const int64_t third = 2 * s.units * s.size(), fourth = 3 * s.units * s.size();
    b.products[kMoreInputs]->Run(At(dgates, fourth), At(ptrs[x + 1], third), out[kDx], scratch);
    b.products[kMoreKernel]->Run(ptrs[x], At(dgates, fourth), At(out[kDKernel], third), scratch);
  }
  RecurrentBiasParams bias;
  bias.sums = p.sums;
  bias.dbias = out[kDBias];
  bias.batch = s.batch;
  bias.units = s.units;
  LaunchKernel(*b.stream, b.bias, s.bias_shape, &bias, sizeof bias);
}

constexpr KernelDef Steps(const OpDef* op, LaunchFn launch) {
  return {.op = op,
          .impl = "steps",
          .supports = Supports,
          .prepare = Prepare,
          .launch = launch,
          .bind = Bind};
}

constexpr KernelDef kKernels[] = {
    Steps(&ops::kLstm, LaunchForward),
    Steps(&ops::kGru, LaunchForward),
    Steps(&ops::kLstmGrad, LaunchBackward),
    Steps(&ops::kGruGrad, LaunchBackward),
};

}  // namespace

std::span<const KernelDef> RecurrentStepKernels() { return kKernels; }

}  // namespace ostria::cuda
