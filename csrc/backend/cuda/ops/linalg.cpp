// SPDX-License-Identifier: Apache-2.0
// Products of matrices. A fused product has two ways: what follows it as cuBLASLt's epilogue, or
// kernels of ours after the product (cublaslt/tail.h). "cublaslt" takes the faster one, by the
// record of choices (choices.h) or by timing where the device's properties allow it, else the
// epilogue; "cublaslt_epilogue" and "cublaslt_kernel" pin one. What is more than a bias and an
// activation is taken only where it can be an epilogue: else loops join it with more.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "backend/cuda/cache/choices.h"
#include "backend/cuda/cache/timing.h"
#include "backend/cuda/cublaslt/matmul.h"
#include "backend/cuda/cublaslt/product.h"
#include "backend/cuda/cublaslt/tail.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/linalg/skinny.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using ops::EpilogueOperand;
using ops::EpilogueResult;

constexpr int kAlgorithms = 8;  // that are timed, of each way

enum Way { kEpilogue, kKernel };

struct ProductState final : KernelState {
  LtProduct product;
  std::array<std::optional<LtProblem>, 2> ways;  // by Way
  Tail tail;                                     // of the kernel
  int inputs = 0, outputs = 0;
  int64_t third_bytes = 0, second_bytes = 0;  // of the third input and the second output
  bool may_time = false;

  int y() const { return inputs; }
  int workspace() const { return inputs + outputs; }
  // Of the way that is taken where nothing was timed.
  std::vector<std::string> LaunchNames() const override {
    std::vector<std::string> names(static_cast<size_t>(product.runs()),
                                   StrCat("cublaslt ", KeyOf(*(ways[0] ? ways[0] : ways[1]))));
    if (ways[0]) return names;
    for (std::string& name : tail.LaunchNames()) names.push_back(std::move(name));
    return names;
  }
};

// --- without a device --------------------------------------------------------------------------

// Whether what is more than a bias and an activation should be one node: where both ways are there,
// since the library may turn out to have no kernel for its own.
Support SupportsJoint(const NodeDesc& node, const LtProduct& product, const Support& epilogue) {
  if (!epilogue.ok) return epilogue;
  const LtProblem& p = product.problem;
  if (std::min(p.rows(), p.cols() * p.batches) <= kernels::kSkinnyMost) {
    return Support::No("products of at most ", kernels::kSkinnyMost,
                       " rows or columns have kernels of their own");
  }
  const EpilogueResult second = ops::DefOf(product.epilogue).second;
  bool dense = second != EpilogueResult::kSumOfA || node.inputs[0].is_dense();
  dense &= second != EpilogueResult::kSumOfB || node.inputs[1].is_dense();
  dense &= node.inputs.size() < 3 || node.inputs[2].is_dense();
  for (const MemDesc& m : node.outputs) dense &= m.is_dense();
  return dense ? Support::Yes() : Support::No("needs dense operands");
}

std::unique_ptr<ProductState> Describe(const NodeDesc& node, bool epilogue, bool kernel,
                                       Support* support) {
  auto state = std::make_unique<ProductState>();
  LtProduct& product = state->product;
  *support = DescribeLtProduct(node, &product);
  if (!support->ok) return nullptr;
  LtProblem fused, part;
  Support possible = WithEpilogue(product, &fused);
  if (!ops::DefOf(product.epilogue).is_simple()) {
    *support = SupportsJoint(node, product, possible);
    if (!support->ok) return nullptr;
  }
  if (epilogue && possible.ok) state->ways[kEpilogue] = fused;
  if (kernel && !product.is_plain()) {
    if (!node.outputs[0].is_dense()) {
      possible = Support::No("needs a dense result");
    } else if (BeforeTail(product, &part).ok) {
      state->ways[kKernel] = part;
    }
  }
  if (!state->ways[kEpilogue] && !state->ways[kKernel]) {
    *support = possible.ok ? Support::No("has neither bias nor activation") : possible;
    return nullptr;
  }
  return state;
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
  state->workspace_bytes = WorkspaceOf(product);
  state->detail = DetailOf(product);
  if (!product.is_plain()) {
    const bool both = state->ways[kEpilogue] && state->ways[kKernel];
    const std::string_view name = ops::DefOf(product.epilogue).name;
    state->detail +=
        product.epilogue == ops::Epilogue::kNone ? std::string(", bias") : StrCat(", ", name);
    state->detail += both                     ? " by epilogue or kernel"
                     : state->ways[kEpilogue] ? " by epilogue"
                                              : " by kernel";
  }
  state->may_time = !node.device->deterministic;
  state->inputs = static_cast<int>(node.inputs.size());
  state->outputs = static_cast<int>(node.outputs.size());
  if (state->inputs > 2) state->third_bytes = node.inputs[2].bytes();
  if (state->outputs > 1) state->second_bytes = node.outputs[1].bytes();
  if (state->ways[kKernel]) {
    state->tail = PlanTail(node, product);
    state->workspace_bytes = std::max(state->workspace_bytes, state->tail.workspace_bytes);
  }
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
  BoundTail tail;
  Variant aligned, unaligned;
};

const char* At(const void* base, int64_t elements, cudaDataType type) {
  return static_cast<const char*>(base) + elements * BytesOf(type);
}

// `ptrs`: those of the node.
void Run(const BoundProduct& s, const Candidate& c, void* const* ptrs) {
  const LtProduct& product = s.plan->product;
  const LtProblem& p = product.problem;
  const ops::EpilogueDef& e = ops::DefOf(product.epilogue);
  const int y = s.plan->y();
  const bool writes_aux =
      e.second == EpilogueResult::kMask || e.second == EpilogueResult::kPreactivation;
  void* const second = s.plan->outputs > 1 ? ptrs[y + 1] : nullptr;
  void* const bias = product.has_bias ? ptrs[2] : second;
  void* const aux = writes_aux ? second : e.is_gradient() ? ptrs[2] : nullptr;
  const bool to_second = c.way == kKernel && e.second == EpilogueResult::kPreactivation;
  void* const result = to_second ? second : ptrs[y];
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
                                .workspace = ptrs[s.plan->workspace()]});
  }
  if (c.way == kKernel) RunTail(s.plan->tail, s.tail, ptrs);
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
    key += s.plan->tail.key;
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
  if (s.plan->inputs > 2) sizes.push_back(s.plan->third_bytes);
  sizes.push_back(bytes(p.d));
  if (s.plan->outputs > 1) sizes.push_back(s.plan->second_bytes);
  sizes.push_back(s.plan->workspace_bytes);
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
  if (plan.ways[kKernel]) bound->tail = BindTail(plan.tail, to);
  Choose(*bound, plan.may_time, &bound->aligned);
  // Rare: slices of a scan, whose elements are few. Not worth timing.
  Choose(*bound, false, &bound->unaligned);
  return bound;
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BoundProduct&>(state);
  uintptr_t bits = 0;
  for (int i = 0; i < s.plan->workspace(); ++i) {
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
