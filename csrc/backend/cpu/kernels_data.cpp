// SPDX-License-Identifier: Apache-2.0
// The scatters, the segments and one_hot: whole slices of a tensor seen as [outer, axis, inner],
// named by indices along the axis.
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
