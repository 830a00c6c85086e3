// SPDX-License-Identifier: Apache-2.0
// Gather, the scatters, the segments and one_hot: whole slices of x, seen as [outer, axis, inner],
// picked by indices along the axis.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "backend/cpu/columns.h"
#include "backend/cpu/combine.h"
#include "backend/cpu/indices.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/copy.h"
#include "base/parallel.h"
#include "ops/common/scatter.h"

namespace ostria::cpu {
namespace {

constexpr int64_t kGrainBytes = 1 << 18;

struct IndexState final : KernelState {
  DType dtype;
  Columns columns;  // of x
  Indices indices;
};

std::unique_ptr<IndexState> PrepareIndices(const NodeDesc& d) {
  auto state = std::make_unique<IndexState>();
  const MemDesc& x = d.inputs[0];
  state->dtype = x.dtype;
  state->columns = Columns::Of(x, ops::Axis(d.attr<int64_t>(ops::kScatterAxis), x.rank));
  state->indices = Indices::Of(d, 1, state->columns.size);
  return state;
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) { return PrepareIndices(d); }

template <class T>
void GatherElements(const IndexState& s, const T* x, const void* indices, T* y) {
  const int64_t grain = kGrainBytes / static_cast<int64_t>(sizeof(T));
  const int64_t count = s.indices.count, size = s.columns.size;
  ParallelFor(s.columns.outer * count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      y[i] = x[i / count * size + s.indices.Place(indices, i % count)];
    }
  });
}

// Rows lie anywhere in a table that no cache holds: memory is asked for before it is needed.
void GatherRows(const IndexState& s, const std::byte* x, const void* indices, std::byte* y,
                int64_t row, int64_t begin, int64_t end) {
  constexpr int64_t kAhead = 8, kLine = 64, kMostLines = 4;
  const int64_t count = s.indices.count, size = s.columns.size;
  const auto from = [&](int64_t i) {
    return x + (i / count * size + s.indices.Place(indices, i % count)) * row;
  };
  const auto copy = [&](auto bytes) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end) {
        const std::byte* next = from(i + kAhead);
        for (int64_t k = 0; k < std::min(row, kMostLines * kLine); k += kLine) {
          __builtin_prefetch(next + k);
        }
      }
      std::memcpy(y + i * row, from(i), static_cast<size_t>(bytes));
    }
  };
  switch (row) {  // a copy of a known size is a few instructions
    case 32: return copy(std::integral_constant<int64_t, 32>());
    case 64: return copy(std::integral_constant<int64_t, 64>());
    case 128: return copy(std::integral_constant<int64_t, 128>());
    default: return copy(row);
  }
}

void LaunchGather(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const IndexState&>(state);
  const void* indices = ptrs[1];
  s.indices.Check(indices);
  const int64_t row = s.columns.inner * SizeOf(s.dtype);
  switch (row) {  // one element per index: a copy of a known size
    case 1:
      return GatherElements(s, static_cast<const uint8_t*>(ptrs[0]), indices,
                            static_cast<uint8_t*>(ptrs[2]));
    case 2:
      return GatherElements(s, static_cast<const uint16_t*>(ptrs[0]), indices,
                            static_cast<uint16_t*>(ptrs[2]));
    case 4:
      return GatherElements(s, static_cast<const uint32_t*>(ptrs[0]), indices,
                            static_cast<uint32_t*>(ptrs[2]));
    case 8:
      return GatherElements(s, static_cast<const uint64_t*>(ptrs[0]), indices,
                            static_cast<uint64_t*>(ptrs[2]));
    default: break;
  }
  const auto* x = static_cast<const std::byte*>(ptrs[0]);
  auto* y = static_cast<std::byte*>(ptrs[2]);
  ParallelFor(s.columns.outer * s.indices.count, kGrainBytes / row + 1,
              [&](int64_t begin, int64_t end) { GatherRows(s, x, indices, y, row, begin, end); });
}

// Scatters and segments: updates [outer, indices, inner] go into y [outer, size, inner], which
// holds x, or one value everywhere.
struct ScatterState final : KernelState {
  DType dtype;
  Columns columns;  // of y
  Indices indices;
  int64_t bytes = 0;                     // of y
  alignas(8) std::byte initial[8] = {};  // of a segment
};

std::unique_ptr<KernelState> PrepareScatter(const NodeDesc& d) {
  auto state = std::make_unique<ScatterState>();
  const MemDesc& y = d.outputs[0];
  state->dtype = y.dtype;
  state->columns = Columns::Of(y, ops::Axis(d.attr<int64_t>(ops::kScatterAxis), y.rank));
  state->indices = Indices::Of(d, 1, state->columns.size);
  state->bytes = y.bytes();
  return state;
}

// Threads share the columns, never the indices: each element is made by one thread, in the order of
// the indices, so results do not depend on how many threads there are.
template <class T, class Rule>
void Scatter(const ScatterState& s, const void* indices, const T* updates, T* y, Rule rule) {
  const Columns& c = s.columns;
  const int64_t count = s.indices.count;
  ForColumns(c, count, [&](int64_t o, int64_t begin, int64_t end) {
    for (int64_t i = 0; i < count; ++i) {
      const T* u = updates + (o * count + i) * c.inner;
      T* to = y + (o * c.size + s.indices.Place(indices, i)) * c.inner;
      for (int64_t k = begin; k < end; ++k) to[k] = rule(to[k], u[k]);
    }
  });
}

template <class Rule>
void ScatterInto(const ScatterState& s, const void* indices, const void* updates, void* y) {
  DispatchDType(s.dtype, [&]<class T>(T*) {
    Scatter(s, indices, static_cast<const T*>(updates), static_cast<T*>(y), Rule());
  });
}

template <class Rule>
void LaunchScatter(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ScatterState&>(state);
  s.indices.Check(ptrs[1]);
  if (ptrs[3] != ptrs[0]) std::memcpy(ptrs[3], ptrs[0], static_cast<size_t>(s.bytes));
  ScatterInto<Rule>(s, ptrs[1], ptrs[2], ptrs[3]);
}

template <class Rule>
std::unique_ptr<KernelState> PrepareSegments(const NodeDesc& d) {
  auto state = std::make_unique<ScatterState>();
  const MemDesc& y = d.outputs[0];
  state->dtype = y.dtype;
  state->columns = Columns::Of(y, 0);
  state->indices = Indices::Of(d, 1, state->columns.size);
  state->indices.from_the_end = false;
  state->bytes = y.bytes();
  DispatchDType(y.dtype, [&]<class T>(T*) {
    const T initial = Rule::template Initial<T>();
    std::memcpy(state->initial, &initial, sizeof initial);
  });
  return state;
}

template <class Rule>
void LaunchSegments(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ScatterState&>(state);
  s.indices.Check(ptrs[1]);
  const int size = static_cast<int>(SizeOf(s.dtype));
  Fill(ptrs[2], s.initial, size, s.bytes / size);
  ScatterInto<Rule>(s, ptrs[1], ptrs[0], ptrs[2]);
}

// The sums, divided by how many elements went into them, which the workspace counts.
std::unique_ptr<KernelState> PrepareSegmentMean(const NodeDesc& d) {
  auto state = PrepareSegments<Sum>(d);
  state->workspace_bytes = d.outputs[0].sizes[0] * static_cast<int64_t>(sizeof(int64_t));
  return state;
}

template <class T>
void DivideSegments(const ScatterState& s, const int64_t* counts, T* y) {
  const Columns& c = s.columns;
  ParallelFor(c.size, std::max<int64_t>(1, 4096 / c.inner), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T count = static_cast<T>(std::max<int64_t>(counts[i], 1));
      for (int64_t k = i * c.inner; k < (i + 1) * c.inner; ++k) y[k] /= count;
    }
  });
}

void LaunchSegmentMean(const KernelState& state, void* const* ptrs) {
  LaunchSegments<Sum>(state, ptrs);
  const auto& s = static_cast<const ScatterState&>(state);
  auto* counts = static_cast<int64_t*>(ptrs[3]);
  std::fill(counts, counts + s.columns.size, 0);
  for (int64_t i = 0; i < s.indices.count; ++i) ++counts[s.indices.At(ptrs[1], i)];
  if (s.dtype == DType::kFloat32) return DivideSegments(s, counts, static_cast<float*>(ptrs[2]));
  DivideSegments(s, counts, static_cast<double*>(ptrs[2]));
}

struct OneHotState final : KernelState {
  DType dtype;
  Indices indices;
  int64_t depth = 0;
};

std::unique_ptr<KernelState> PrepareOneHot(const NodeDesc& d) {
  auto state = std::make_unique<OneHotState>();
  state->dtype = d.outputs[0].dtype;
  state->depth = d.attr<int64_t>(0);
  state->indices = Indices::Of(d, 0, state->depth);
  return state;
}

void LaunchOneHot(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const OneHotState&>(state);
  const int64_t row = s.depth * SizeOf(s.dtype);
  std::memset(ptrs[1], 0,
              static_cast<size_t>(s.indices.count * row));  // zero is all bits 0 in any dtype
  DispatchDType(s.dtype, [&]<class T>(T*) {
    const T one = OfNumber<T>(1);
    T* y = static_cast<T*>(ptrs[1]);
    for (int64_t i = 0; i < s.indices.count; ++i) {
      const int64_t at = s.indices.At(ptrs[0], i);
      if (at >= 0 && at < s.depth) y[i * s.depth + at] = one;
    }
  });
}

Support SupportsSums(const NodeDesc& d) {
  const DType t = d.inputs[0].dtype;
  if (t == DType::kFloat16 || t == DType::kBFloat16) {
    return Support::No("would round ", t, " after every addition");
  }
  return NeedsDense(d);
}

template <class Rule>
constexpr KernelDef Scattering(const OpDef& op, Support (*supports)(const NodeDesc&)) {
  return {.op = &op,
          .impl = "rows",
          .supports = supports,
          .prepare = PrepareScatter,
          .launch = LaunchScatter<Rule>,
          .alias_ok = [](const NodeDesc&, int, int in) { return in == 0; }};
}

template <class Rule>
constexpr KernelDef Segments(const OpDef& op, Support (*supports)(const NodeDesc&)) {
  return {.op = &op,
          .impl = "rows",
          .supports = supports,
          .prepare = PrepareSegments<Rule>,
          .launch = LaunchSegments<Rule>};
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kGather,
     .impl = "rows",
     .supports = NeedsDense,
     .prepare = Prepare,
     .launch = LaunchGather},
    Scattering<Sum>(ops::kScatterAdd, SupportsSums),
    Scattering<Larger>(ops::kScatterMax, NeedsDense),
    Scattering<Smaller>(ops::kScatterMin, NeedsDense),
    Scattering<Replace>(ops::kScatterUpdate, NeedsDense),
    Segments<Sum>(ops::kSegmentSum, SupportsSums),
    {.op = &ops::kSegmentMean,
     .impl = "rows",
     .supports = SupportsSums,
     .prepare = PrepareSegmentMean,
     .launch = LaunchSegmentMean},
    Segments<Larger>(ops::kSegmentMax, NeedsDense),
    Segments<Smaller>(ops::kSegmentMin, NeedsDense),
    {.op = &ops::kOneHot,
     .impl = "rows",
     .supports = NeedsDense,
     .prepare = PrepareOneHot,
     .launch = LaunchOneHot},
};

}  // namespace

std::span<const KernelDef> DataKernels() { return kKernels; }

}  // namespace ostria::cpu
