// SPDX-License-Identifier: Apache-2.0
// Implementations of matmul and matmul_fused, best first: vectors and outer products of our own,
// oneDNN, then our block product (float64, strides that oneDNN refuses) and plain loops for
// integers.
#include <algorithm>
#include <array>
#include <type_traits>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/gemm_table.h"
#include "backend/matmul_desc.h"
#include "base/parallel.h"
#include "base/thread_share.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

// Of the matrix: about 4 us of one core's cache bandwidth, several times what a barrier costs.
constexpr int64_t kElementsPerThread = 1 << 17;

// Of a row's product with a matrix: at most so many sums, of so many rows of the matrix at least.
constexpr int64_t kMostPieces = 16, kLeastDepth = 32;

const GemmTable::Type& OwnGemm(DType dtype) {
  const GemmTable& table = OfCurrentIsa(kGemmBaseline, kGemmAvx2, kGemmAvx512);
  return dtype == DType::kFloat32 ? table.f32 : table.f64;
}

bool IsWideFloat(DType t) { return t == DType::kFloat32 || t == DType::kFloat64; }

Support NeedsFloat(const MatmulDesc& d) {
  if (!d.is_simple()) return Support::No("ends in a bias and an activation alone");
  if (IsWideFloat(d.dtype)) return Support::Yes();
  return Support::No("is for float32 and float64, not ", d.dtype);
}

struct OwnState : KernelState {
  GemmArgs args = {};
  GemmFn fn = nullptr;
  MatmulDesc d;
  int64_t element = 4;  // bytes
  int64_t grain = 1;
  bool swapped = false;  // y^T = b^T a^T
  int64_t pieces = 1;    // of k, summed by themselves in the workspace
};

const char* At(const void* base, int64_t elements, int64_t size) {
  return static_cast<const char*>(base) + elements * size;
}
char* At(void* base, int64_t elements, int64_t size) {
  return static_cast<char*>(base) + elements * size;
}

GemmArgs Bind(const OwnState& s, void* const* ptrs) {
  GemmArgs g = s.args;
  g.a = ptrs[s.swapped ? 1 : 0];
  g.b = ptrs[s.swapped ? 0 : 1];
  g.bias = s.d.has_bias ? ptrs[2] : nullptr;
  g.y = ptrs[s.d.has_bias ? 3 : 2];
  return g;
}

// --- one row or one column ---------------------------------------------------------------------

MatmulDesc Swap(const MatmulDesc& d) {
  MatmulDesc t = d;
  std::swap(t.m, t.n);
  std::swap(t.a_m, t.b_n);
  std::swap(t.a_k, t.b_k);
  std::swap(t.y_m, t.y_n);
  return t;
}

Support SupportsRow(const NodeDesc& node) {
  MatmulDesc d = DescribeMatmul(node);
  if (Support s = NeedsFloat(d); !s.ok) return s;
  if (d.batch_rank != 0) return Support::No("is for one product, not a batch of them");
  if (d.m != 1) {
    if (d.n != 1) return Support::No("needs one row or one column, not ", d.m, " x ", d.n);
    if (d.has_bias) return Support::No("has no bias for a column");
    d = Swap(d);
  }
  if (d.y_n != 1) return Support::No("needs a dense result");
  if (d.b_n != 1 && (d.b_k != 1 || d.a_k != 1)) return Support::No("needs a dense matrix");
  // Measured with AVX-512: dot products of 10 take 1.1 us for 256 columns, oneDNN 0.7 us.
  constexpr int64_t kShortDot = 32;
  if (d.b_n != 1 && d.k < kShortDot && d.dtype == DType::kFloat32) {
    return Support::No("dot products of ", d.k, " elements are too short to pay");
  }
  return Support::Yes();
}

std::unique_ptr<KernelState> PrepareRow(const NodeDesc& node) {
  auto state = std::make_unique<OwnState>();
  state->d = DescribeMatmul(node);
  state->swapped = state->d.m != 1;
  const MatmulDesc d = state->swapped ? Swap(state->d) : state->d;
  state->element = SizeOf(d.dtype);
  state->args = {
      nullptr, nullptr, nullptr, nullptr, 1,     d.n,   d.k,
      d.a_m,   d.a_k,   d.b_k,   d.b_n,   d.y_m, d.y_n, static_cast<int>(d.activation())};
  const GemmTable::Type& own = OwnGemm(d.dtype);
  state->fn = d.b_n == 1 ? own.row_axpy : own.row_dot;
  // Whole cache lines of y per thread.
  state->grain = std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, d.k) / 16);
  if (d.b_n == 1) {
    const int64_t most = std::min(d.k / kLeastDepth, d.k * d.n / (kElementsPerThread / 4));
    state->pieces = std::clamp<int64_t>(most, 1, kMostPieces);
    if (state->pieces > 1) state->workspace_bytes = state->pieces * d.n * state->element;
  }
  state->detail = StrCat(d.b_n == 1 ? "axpy:" : "dot:", Name(CurrentIsa()));
  return state;
}

template <class T>
constexpr std::array<T, kMostPieces> kOnes = [] {
  std::array<T, kMostPieces> ones;
  ones.fill(T(1));
  return ones;
}();

// Rows of the matrix by pieces: threads read the rows that they also update (simd/optimizer.cpp).
// Adding up the pieces is a product with a row of ones, and brings bias and activation.
void LaunchPieces(const OwnState& s, const GemmArgs& whole, void* workspace) {
  ParallelFor(s.pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t from = whole.k * p / s.pieces;
      GemmArgs g = whole;
      g.k = whole.k * (p + 1) / s.pieces - from;
      g.a = At(whole.a, from * g.a_k, s.element);
      g.b = At(whole.b, from * g.b_k, s.element);
      g.y = At(workspace, p * g.n, s.element);
      g.bias = nullptr;
      g.activation = 0;
      s.fn(g);
    }
  });
  GemmArgs sum = whole;
  sum.a = s.element == sizeof(float) ? static_cast<const void*>(kOnes<float>.data())
                                     : static_cast<const void*>(kOnes<double>.data());
  sum.b = workspace;
  sum.k = s.pieces;
  sum.a_k = 1;
  sum.b_k = whole.n;
  s.fn(sum);
}

void LaunchRow(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const OwnState&>(state);
  const GemmArgs whole = Bind(s, ptrs);
  if (s.pieces > 1) return LaunchPieces(s, whole, ptrs[s.d.has_bias ? 4 : 3]);
  ParallelFor((whole.n + 15) / 16, s.grain, [&](int64_t begin, int64_t end) {
    GemmArgs g = whole;
    const int64_t first = begin * 16;
    g.n = std::min(whole.n, end * 16) - first;
    g.b = At(whole.b, first * g.b_n, s.element);
    g.y = At(whole.y, first, s.element);
    if (g.bias != nullptr) g.bias = At(whole.bias, first, s.element);
    s.fn(g);
  });
}

// --- outer product -----------------------------------------------------------------------------

Support SupportsOuter(const NodeDesc& node) {
  const MatmulDesc d = DescribeMatmul(node);
  if (Support s = NeedsFloat(d); !s.ok) return s;
  if (d.batch_rank != 0) return Support::No("is for one product, not a batch of them");
  if (d.k != 1) return Support::No("needs inner size 1, not ", d.k);
  if (d.b_n != 1 || d.y_n != 1) return Support::No("needs a dense row and result");
  return Support::Yes();
}

std::unique_ptr<KernelState> PrepareOuter(const NodeDesc& node) {
  auto state = std::make_unique<OwnState>();
  const MatmulDesc d = state->d = DescribeMatmul(node);
  state->element = SizeOf(d.dtype);
  state->args = {
      nullptr, nullptr, nullptr, nullptr, d.m,   d.n,   1,
      d.a_m,   d.a_k,   d.b_k,   d.b_n,   d.y_m, d.y_n, static_cast<int>(d.activation())};
  state->fn = OwnGemm(d.dtype).outer;
  state->grain = std::max<int64_t>(1, kElementsPerThread / d.n);
  state->detail = Name(CurrentIsa());
  return state;
}

void LaunchOuter(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const OwnState&>(state);
  const GemmArgs whole = Bind(s, ptrs);
  ParallelFor(whole.m, s.grain, [&](int64_t begin, int64_t end) {
    GemmArgs g = whole;
    g.m = end - begin;
    g.a = At(whole.a, begin * g.a_m, s.element);
    g.y = At(whole.y, begin * g.y_m, s.element);
    s.fn(g);
  });
}

// --- oneDNN ------------------------------------------------------------------------------------

struct OnednnMatmul {
  dnnl::memory::desc a, b, bias, y;
  dnnl::matmul::primitive_desc pd;
};

OnednnMatmul MakeOnednn(const MatmulDesc& d, int threads) {
  const ThreadShare share(threads);
  onednn::Dims a, b, y, bias, a_strides, b_strides, y_strides;
  for (int i = 0; i < d.batch_rank; ++i) {
    a.push_back(d.a_batch[i] == 0 ? 1 : d.batch[i]);
    b.push_back(d.b_batch[i] == 0 ? 1 : d.batch[i]);
    y.push_back(d.batch[i]);
    a_strides.push_back(d.a_batch[i] == 0 ? d.m * d.k : d.a_batch[i]);
    b_strides.push_back(d.b_batch[i] == 0 ? d.k * d.n : d.b_batch[i]);
    y_strides.push_back(d.y_batch[i]);
    bias.push_back(1);
  }
  a.insert(a.end(), {d.m, d.k});
  b.insert(b.end(), {d.k, d.n});
  y.insert(y.end(), {d.m, d.n});
  bias.insert(bias.end(), {1, d.n});
  a_strides.insert(a_strides.end(), {d.a_m, d.a_k});
  b_strides.insert(b_strides.end(), {d.b_k, d.b_n});
  y_strides.insert(y_strides.end(), {d.y_m, d.y_n});
  OnednnMatmul out;
  out.a = onednn::Strided(a, a_strides, d.dtype);
  out.b = onednn::Strided(b, b_strides, d.dtype);
  out.y = onednn::Strided(y, y_strides, d.result);
  out.bias = onednn::Dense(bias, d.dtype);
  const dnnl::primitive_attr attr = onednn::Attributes(d.activation());
  using Pd = dnnl::matmul::primitive_desc;
  out.pd = d.has_bias ? Pd(onednn::Engine(), out.a, out.b, out.bias, out.y, attr)
                      : Pd(onednn::Engine(), out.a, out.b, out.y, attr);
  return out;
}

Support SupportsOnednn(const NodeDesc& node) {
  const MatmulDesc d = DescribeMatmul(node);
  if (Support s = onednn::Takes(d.dtype); !s.ok) return s;
  if (d.k == 0) return Support::No("the inner size is 0");
  if (!d.is_simple()) return Support::No("ends in a bias and an activation alone");
  return onednn::Try([&] { return MakeOnednn(d, onednn::ThreadsFor(node, d.flops())).pd; });
}

struct OnednnState : KernelState {
  OnednnState(const OnednnMatmul& made, std::span<const onednn::Primitive::Arg> args, int threads)
      : primitive(made.pd, dnnl::matmul(made.pd), args, threads) {
    workspace_bytes = primitive.scratchpad_bytes();
    detail = primitive.impl();
  }
  onednn::Primitive primitive;
};

std::unique_ptr<KernelState> PrepareOnednn(const NodeDesc& node) {
  const MatmulDesc d = DescribeMatmul(node);
  const int threads = onednn::ThreadsFor(node, d.flops());
  const OnednnMatmul made = MakeOnednn(d, threads);
  const ThreadShare share(threads);
  // In the order of a launch's pointers: inputs, output, workspace.
  std::vector<onednn::Primitive::Arg> args = {{DNNL_ARG_SRC, made.a}, {DNNL_ARG_WEIGHTS, made.b}};
  if (d.has_bias) args.push_back({DNNL_ARG_BIAS, made.bias});
  args.push_back({DNNL_ARG_DST, made.y});
  return std::make_unique<OnednnState>(made, args, threads);
}

void LaunchOnednn(const KernelState& state, void* const* ptrs) {
  static_cast<const OnednnState&>(state).primitive.Run(ptrs);
}

// --- block product -----------------------------------------------------------------------------

Support SupportsBlocks(const NodeDesc& node) { return NeedsFloat(DescribeMatmul(node)); }

std::unique_ptr<KernelState> PrepareBlocks(const NodeDesc& node) {
  auto state = std::make_unique<OwnState>();
  const MatmulDesc d = state->d = DescribeMatmul(node);
  state->element = SizeOf(d.dtype);
  state->args = {
      nullptr, nullptr, nullptr, nullptr, d.m,   d.n,   d.k,
      d.a_m,   d.a_k,   d.b_k,   d.b_n,   d.y_m, d.y_n, static_cast<int>(d.activation())};
  state->fn = OwnGemm(d.dtype).block;
  const double per_block = 2.0 * kGemmRows * kGemmCols * std::max<int64_t>(1, d.k);
  state->grain = std::max<int64_t>(1, static_cast<int64_t>(1e6 / per_block));
  state->detail = Name(CurrentIsa());
  return state;
}

/// Offsets of batch number `index` in a, b and y.
struct BatchOffsets {
  int64_t a = 0, b = 0, y = 0;
};
BatchOffsets OffsetsOf(const MatmulDesc& d, int64_t index) {
  BatchOffsets o;
  for (int i = d.batch_rank - 1; i >= 0; --i) {
    const int64_t at = index % d.batch[i];
    index /= d.batch[i];
    o.a += at * d.a_batch[i];
    o.b += at * d.b_batch[i];
    o.y += at * d.y_batch[i];
  }
  return o;
}

void LaunchBlocks(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const OwnState&>(state);
  const GemmArgs whole = Bind(s, ptrs);
  const int64_t rows = (whole.m + kGemmRows - 1) / kGemmRows;
  const int64_t cols = (whole.n + kGemmCols - 1) / kGemmCols;
  ParallelFor(s.d.batches() * rows * cols, s.grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const BatchOffsets batch = OffsetsOf(s.d, t / (rows * cols));
      const int64_t i = t / cols % rows * kGemmRows, j = t % cols * kGemmCols;
      GemmArgs g = whole;
      g.m = std::min(kGemmRows, whole.m - i);
      g.n = std::min(kGemmCols, whole.n - j);
      g.a = At(whole.a, batch.a + i * g.a_m, s.element);
      g.b = At(whole.b, batch.b + j * g.b_n, s.element);
      g.y = At(whole.y, batch.y + i * g.y_m + j * g.y_n, s.element);
      if (g.bias != nullptr) g.bias = At(whole.bias, j, s.element);
      s.fn(g);
    }
  });
}

// --- integers ----------------------------------------------------------------------------------

struct IntState : KernelState {
  MatmulDesc d;
  void (*fn)(const MatmulDesc&, const void* a, const void* b, void* y) = nullptr;
};

// Sums wrap around, as NumPy's do; computed in uint64 because signed overflow is undefined.
template <class T>
void IntProduct(const MatmulDesc& d, const void* av, const void* bv, void* yv) {
  using U = std::make_unsigned_t<T>;
  const int64_t rows = d.batches() * d.m;
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(1, d.n * d.k));
  ParallelFor(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const BatchOffsets batch = OffsetsOf(d, r / d.m);
      const T* a = static_cast<const T*>(av) + batch.a + r % d.m * d.a_m;
      const T* b = static_cast<const T*>(bv) + batch.b;
      T* y = static_cast<T*>(yv) + batch.y + r % d.m * d.y_m;
      for (int64_t j = 0; j < d.n; ++j) y[j * d.y_n] = T(0);
      for (int64_t k = 0; k < d.k; ++k) {
        const auto x = static_cast<uint64_t>(static_cast<U>(a[k * d.a_k]));
        for (int64_t j = 0; j < d.n; ++j) {
          const auto product = x * static_cast<U>(b[k * d.b_k + j * d.b_n]);
          y[j * d.y_n] = static_cast<T>(static_cast<U>(y[j * d.y_n]) + product);
        }
      }
    }
  });
}

Support SupportsInt(const NodeDesc& node) {
  const DType dtype = node.inputs[0].dtype;
  if (IsInteger(dtype)) return Support::Yes();
  return Support::No("is for integers, not ", dtype);
}

std::unique_ptr<KernelState> PrepareInt(const NodeDesc& node) {
  auto state = std::make_unique<IntState>();
  state->d = DescribeMatmul(node);
  DispatchDType(state->d.dtype, [&]<class T>(T*) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) state->fn = &IntProduct<T>;
  });
  return state;
}

void LaunchInt(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const IntState&>(state);
  s.fn(s.d, ptrs[0], ptrs[1], ptrs[2]);
}

#define OSTRIA_FLOAT_PRODUCTS(op)                                     \
  {&op, "row", SupportsRow, PrepareRow, LaunchRow},                   \
      {&op, "outer", SupportsOuter, PrepareOuter, LaunchOuter},       \
      {&op, "onednn", SupportsOnednn, PrepareOnednn, LaunchOnednn}, { \
    &op, "blocks", SupportsBlocks, PrepareBlocks, LaunchBlocks        \
  }

constexpr KernelDef kKernels[] = {
    OSTRIA_FLOAT_PRODUCTS(ops::kMatmul),
    {&ops::kMatmul, "loops", SupportsInt, PrepareInt, LaunchInt},
    OSTRIA_FLOAT_PRODUCTS(ops::kMatmulFused),
};

}  // namespace

std::span<const KernelDef> LinalgKernels() { return kKernels; }

}  // namespace ostria::cpu
