// SPDX-License-Identifier: Apache-2.0
// Products of matrices. A fused product has two ways: bias and activation (whose input may be
// kept), or the gradient of one, as cuBLASLt's epilogue, or a kernel of ours after the product.
// "cublaslt" takes the faster one, by the record of choices (choices.h) or by timing where the
// device's properties allow it, else the epilogue; "cublaslt_epilogue" and "cublaslt_kernel" pin
// one.
#include <array>
#include <charconv>
#include <optional>

#include "backend/cuda/cache/choices.h"
#include "backend/cuda/cache/timing.h"
#include "backend/cuda/codegen/loop_launch.h"
#include "backend/cuda/cublaslt/matmul.h"
#include "backend/cuda/cublaslt/product.h"
#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "backend/loop_node.h"
#include "base/check.h"
#include "kernels/linalg/bias_activation.h"
#include "loop/build.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::BiasActivationParams;

constexpr int kAlgorithms = 8;  // that are timed, of each way

enum Way { kEpilogue, kKernel };

struct ProductState final : KernelState {
  LtProduct product;
  std::array<std::optional<LtProblem>, 2> ways;  // by Way
  LaunchShape tail;                              // of the kernel
  std::string tail_function;
  BiasActivationParams tail_params;
  std::shared_ptr<const KernelState> tail_loop;  // instead: a gradient, or what follows a kept sum
  bool may_time = false;
  // Of the way that is taken where nothing was timed.
  std::vector<std::string> LaunchNames() const override {
    std::vector<std::string> names(static_cast<size_t>(product.runs()),
                                   StrCat("cublaslt ", KeyOf(*(ways[0] ? ways[0] : ways[1]))));
    if (ways[0]) return names;
    if (tail_loop == nullptr) return names.push_back(tail_function), names;
    for (std::string& name : tail_loop->LaunchNames()) names.push_back(std::move(name));
    return names;
  }
};

// --- without a device --------------------------------------------------------------------------

bool IsDenseResult(const LtProduct& product, const MemDesc& y) {
  return product.is_plain() || y.is_dense();
}

std::unique_ptr<ProductState> Describe(const NodeDesc& node, bool epilogue, bool kernel,
                                       Support* support) {
  auto state = std::make_unique<ProductState>();
  LtProduct& product = state->product;
  *support = DescribeLtProduct(node, &product);
  if (!support->ok) return nullptr;
  LtProblem fused;
  Support possible = WithEpilogue(product, &fused);
  if (epilogue && possible.ok) state->ways[kEpilogue] = fused;
  if (kernel && !product.is_plain()) {
    if (IsDenseResult(product, node.outputs[0])) {
      state->ways[kKernel] = product.problem;
      if (product.keeps && !WithSumKept(product, &*state->ways[kKernel]).ok) {
        state->ways[kKernel].reset();
      }
    } else {
      possible = Support::No("needs a dense result");
    }
  }
  if (!state->ways[kEpilogue] && !state->ways[kKernel]) {
    *support = possible.ok ? Support::No("has neither bias nor activation") : possible;
    return nullptr;
  }
  return state;
}

// y = act(z) of the kept z, or y = y act'(x), where x is the third input.
std::shared_ptr<const KernelState> PlanTail(const NodeDesc& node, const LtProduct& product) {
  const std::vector<MemDesc> inputs = product.keeps
                                          ? std::vector<MemDesc>{node.outputs[1]}
                                          : std::vector<MemDesc>{node.outputs[0], node.inputs[2]};
  const std::vector<Attr> attrs = {true};  // by tanh
  const NodeDesc tail{product.keeps ? &ops::kGelu : &ops::kGeluGrad, attrs, inputs,
                      node.outputs.first(1), node.device};
  const Graph body = BodyOf(tail);
  std::string why;
  const auto program = BuildLoop(body, &why);
  auto loop = program ? GenerateLoop(*program, *node.device, &why) : std::nullopt;
  OSTRIA_CHECK(loop.has_value(), tail.op->name, ": ", why);
  return PlanLoop(tail, OpNames(body), std::make_shared<const GeneratedLoop>(std::move(*loop)));
}

template <bool epilogue, bool kernel>
Support Supports(const NodeDesc& node) {
  Support support;
  Describe(node, epilogue, kernel, &support);
  return support;
}

template <bool epilogue, bool kernel>
std::unique_ptr<KernelState> Prepare(const NodeDesc& node) {
  Support support;
  std::unique_ptr<ProductState> state = Describe(node, epilogue, kernel, &support);
  const LtProduct& product = state->product;
  const MemDesc& y = node.outputs[0];
  state->workspace_bytes = WorkspaceOf(product);
  state->detail = DetailOf(product);
  if (!product.is_plain()) {
    const bool both = state->ways[kEpilogue] && state->ways[kKernel];
    state->detail += both                     ? ", epilogue or kernel"
                     : state->ways[kEpilogue] ? ", epilogue"
                                              : ", kernel";
  }
  state->may_time = !node.device->deterministic;
  if (product.is_gradient() || product.keeps) {
    if (state->ways[kKernel]) state->tail_loop = PlanTail(node, product);
    return state;
  }
  state->tail_function = StrCat("bias_activation_", Name(y.dtype));
  if (product.has_bias && product.bias != y.dtype) {
    state->tail_function += StrCat("_", Name(product.bias));
  }
  state->tail.grid[0] = GridFor(y.numel(), 64 / SizeOf(y.dtype), state->tail.block, *node.device);
  state->tail_params.cols = y.sizes[y.rank - 1];
  state->tail_params.rows = y.numel() / state->tail_params.cols;
  state->tail_params.activation = static_cast<int32_t>(product.activation);
  return state;
}

// --- on a device -------------------------------------------------------------------------------

struct Candidate {
  const LtMatmul* matmul = nullptr;
  Way way = kEpilogue;
  LtAlgorithm algorithm;
};

// The chosen way for operands that lie on 16-byte boundaries, or for any.
struct Variant {
  std::array<std::unique_ptr<LtMatmul>, 2> ways;
  Candidate chosen;
};

struct BoundProduct final : KernelState {
  std::shared_ptr<const ProductState> plan;
  CudaStream* stream = nullptr;
  CUfunction tail = nullptr;
  std::unique_ptr<KernelState> tail_loop;
  Variant aligned, unaligned;
};

const char* At(const void* base, int64_t elements, cudaDataType type) {
  return static_cast<const char*>(base) + elements * BytesOf(type);
}

// `ptrs`: a, b, bias or what an activation was of where the node has one, y, what is kept,
// workspace.
void Run(const BoundProduct& s, const Candidate& c, void* const* ptrs) {
  const LtProduct& product = s.plan->product;
  const LtProblem& p = product.problem;
  const int y = product.has_third() ? 3 : 2;
  void* const bias = product.has_bias ? ptrs[2] : nullptr;
  void* const aux = product.is_gradient() ? ptrs[2] : product.keeps ? ptrs[y + 1] : nullptr;
  void* const result = product.keeps && c.way == kKernel ? aux : ptrs[y];
  const int64_t runs = product.runs();
  for (int64_t run = 0; run < runs; ++run) {
    int64_t a = 0, b = 0, d = 0, rest = run;
    for (int i = product.loop_rank - 1; i >= 0; --i) {
      const LtProduct::Axis& axis = product.loop[i];
      const int64_t at = rest % axis.count;
      rest /= axis.count;
      a += at * axis.a;
      b += at * axis.b;
      d += at * axis.y;
    }
    c.matmul->Run(c.algorithm, {.a = At(ptrs[1], b, p.a.type),
                                .b = At(ptrs[0], a, p.b.type),
                                .bias = bias,
                                .aux = aux,
                                .d = const_cast<char*>(At(result, d, p.d.type)),
                                .workspace = ptrs[product.keeps ? y + 2 : y + 1]});
  }
  if (c.way == kEpilogue) return;
  if (product.is_gradient()) {
    void* const operands[] = {ptrs[y], ptrs[2], ptrs[y]};
    RunLoop(*s.tail_loop, operands);
    return;
  }
  if (product.keeps) {
    void* const operands[] = {aux, ptrs[y]};
    RunLoop(*s.tail_loop, operands);
    return;
  }
  BiasActivationParams params = s.plan->tail_params;
  params.y = ptrs[y];
  params.bias = bias;
  LaunchKernel(*s.stream, s.tail, s.plan->tail, &params, sizeof params);
}

// "epilogue" or "kernel", then the words of the algorithm.
std::string ToText(const Candidate& c) {
  std::string out = c.way == kEpilogue ? "epilogue" : "kernel";
  for (const uint64_t word : c.algorithm.algo.data) out += StrCat(" ", word);
  return out;
}

std::optional<Candidate> FromText(std::string_view text, const Variant& v, int64_t workspace) {
  Candidate c;
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view way = text.substr(0, space);
  if (way != "epilogue" && way != "kernel") return std::nullopt;
  c.way = way == "epilogue" ? kEpilogue : kKernel;
  const char* at = text.data() + space;
  const char* const end = text.data() + text.size();
  cublasLtMatmulAlgo_t algo = {};
  for (uint64_t& word : algo.data) {
    if (at == end || *at != ' ') return std::nullopt;
    const auto [next, error] = std::from_chars(at + 1, end, word);
    if (error != std::errc()) return std::nullopt;
    at = next;
  }
  c.matmul = v.ways[c.way].get();
  if (at != end || c.matmul == nullptr) return std::nullopt;
  const std::optional<LtAlgorithm> restored = c.matmul->Restore(algo, workspace);
  if (!restored) return std::nullopt;
  c.algorithm = *restored;
  return c;
}

std::string KeyOfNode(const BoundProduct& s, const Variant& v) {
  const LtMatmul& first = *(v.ways[kEpilogue] != nullptr ? v.ways[kEpilogue] : v.ways[kKernel]);
  std::string key =
      StrCat(ChoiceKey(s.stream->cuda(), first.problem()), " runs ", s.plan->product.runs());
  if (v.ways[kKernel] != nullptr) {
    key += v.ways[kEpilogue] != nullptr ? " or " : " then ";
    key += s.plan->product.is_gradient() ? StrCat(ops::Name(s.plan->product.gradient_of), "_grad")
           : s.plan->product.keeps
               ? StrCat(ops::Name(s.plan->product.activation), " of what is kept")
               : StrCat(s.plan->tail_function, " ", s.plan->tail_params.activation);
  }
  return key;
}

Candidate Fastest(const BoundProduct& s, const std::vector<Candidate>& candidates) {
  const LtProduct& product = s.plan->product;
  const LtProblem& p = product.problem;
  const auto bytes = [&](const LtMatrix& m) {
    int64_t last = (p.batches - 1) * m.stride + (m.cols - 1) * m.ld + m.rows;
    for (int i = 0; i < product.loop_rank; ++i) {
      const LtProduct::Axis& axis = product.loop[i];
      last += (axis.count - 1) * (&m == &p.a ? axis.b : &m == &p.b ? axis.a : axis.y);
    }
    return last * BytesOf(m.type);
  };
  std::vector<int64_t> sizes = {bytes(p.b), bytes(p.a)};
  if (product.has_bias) sizes.push_back(p.rows() * SizeOf(product.bias));
  if (product.is_gradient()) sizes.push_back(bytes(p.d));
  if (product.keeps) sizes.push_back(bytes(p.d));
  sizes.insert(sizes.end(), {bytes(p.d), s.plan->workspace_bytes});
  const RotatingOperands operands(*s.stream, sizes);
  std::vector<std::function<void(int)>> ways;
  for (const Candidate& c : candidates) {
    ways.emplace_back([&, c](int copy) {
      std::array<void*, 6> ptrs = {};
      for (size_t i = 0; i < sizes.size(); ++i) ptrs[i] = operands.at(copy, static_cast<int>(i));
      Run(s, c, ptrs.data());
    });
  }
  return candidates[FastestOf(*s.stream, operands.copies(), ways)];
}

// By the record, else by timing where that is allowed, else the library's first guess.
void Choose(const BoundProduct& s, bool may_time, Variant* v) {
  const int64_t workspace = s.plan->workspace_bytes;
  Choices& record = Choices::Of("cublaslt");
  const std::string key = KeyOfNode(s, *v);
  if (const std::optional<std::string> text = record.Find(key)) {
    if (const std::optional<Candidate> c = FromText(*text, *v, workspace)) {
      v->chosen = *c;
      return;
    }
  }
  std::vector<Candidate> candidates;
  for (const Way way : {kEpilogue, kKernel}) {
    if (v->ways[way] == nullptr) continue;
    for (const LtAlgorithm& a : v->ways[way]->Algorithms(workspace, may_time ? kAlgorithms : 1)) {
      candidates.push_back({v->ways[way].get(), way, a});
    }
  }
  if (candidates.empty()) {
    Fail(ErrorCode::kInternal, "cuBLASLt has no algorithm for the product ", s.plan->detail, " on ",
         s.stream->cuda().props().name, " (", key, ")");
  }
  v->chosen = candidates[0];
  if (may_time && candidates.size() > 1) {
    v->chosen = Fastest(s, candidates);
    record.Set(key, ToText(v->chosen));
  }
}

std::unique_ptr<KernelState> Bind(const std::shared_ptr<const KernelState>& state,
                                  const BindContext& to) {
  auto bound = std::make_unique<BoundProduct>();
  bound->plan = std::static_pointer_cast<const ProductState>(state);
  bound->stream = &StreamOf(to);
  const ProductState& plan = *bound->plan;
  bound->stream->cuda().MakeCurrent();
  for (const Way way : {kEpilogue, kKernel}) {
    if (!plan.ways[way]) continue;
    bound->aligned.ways[way] = std::make_unique<LtMatmul>(*bound->stream, *plan.ways[way]);
    bound->unaligned.ways[way] =
        std::make_unique<LtMatmul>(*bound->stream, Unaligned(*plan.ways[way]));
  }
  if (plan.tail_loop != nullptr) {
    bound->tail_loop = BindLoop(plan.tail_loop, to);
  } else if (plan.ways[kKernel]) {
    bound->tail = bound->stream->cuda().Kernel("linalg/bias_activation", plan.tail_function);
  }
  Choose(*bound, plan.may_time, &bound->aligned);
  // Rare: slices of a scan, whose elements are few. Not worth timing.
  Choose(*bound, false, &bound->unaligned);
  return bound;
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BoundProduct&>(state);
  uintptr_t bits = 0;
  const LtProduct& product = s.plan->product;
  for (int i = 0; i < 3 + product.has_third() + product.keeps; ++i) {
    bits |= reinterpret_cast<uintptr_t>(ptrs[i]);
  }
  Run(s, bits % 16 == 0 ? s.aligned.chosen : s.unaligned.chosen, ptrs);
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kMatmul,
     .impl = "cublaslt",
     .supports = Supports<true, false>,
     .prepare = Prepare<true, false>,
     .launch = Launch,
     .bind = Bind},
    {.op = &ops::kMatmulFused,
     .impl = "cublaslt",
     .supports = Supports<true, true>,
     .prepare = Prepare<true, true>,
     .launch = Launch,
     .bind = Bind},
    {.op = &ops::kMatmulFused,
     .impl = "cublaslt_epilogue",
     .supports = Supports<true, false>,
     .prepare = Prepare<true, false>,
     .launch = Launch,
     .bind = Bind},
    {.op = &ops::kMatmulFused,
     .impl = "cublaslt_kernel",
     .supports = Supports<false, true>,
     .prepare = Prepare<false, true>,
     .launch = Launch,
     .bind = Bind},
};

}  // namespace

std::span<const KernelDef> LinalgKernels() { return kKernels; }

}  // namespace ostria::cuda
