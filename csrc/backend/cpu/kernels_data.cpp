// SPDX-License-Identifier: Apache-2.0
// Gather, scatter_add and one_hot over x seen as [outer, axis, inner]. A bad index throws before
// anything is written: indices are checked first, in one pass.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "backend/cpu/kernels.h"
#include "base/parallel.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

constexpr int64_t kGrainBytes = 1 << 18;

struct IndexState final : KernelState {
  const OpDef* op = nullptr;
  DType dtype, index_dtype;
  int64_t outer = 1, axis = 0, inner = 1;
  int64_t count = 0;  // indices
};

int64_t IndexAt(const IndexState& s, const void* indices, int64_t i) {
  return s.index_dtype == DType::kInt32 ? static_cast<const int32_t*>(indices)[i]
                                        : static_cast<const int64_t*>(indices)[i];
}

void CheckIndices(const IndexState& s, const void* indices) {
  for (int64_t i = 0; i < s.count; ++i) {
    const int64_t at = IndexAt(s, indices, i);
    if (at >= -s.axis && at < s.axis) continue;
    throw Error(ErrorCode::kIndexError, std::string(s.op->name),
                StrCat("index ", at, " (number ", i, " of ", s.count,
                       ") is out of range for an axis of size ", s.axis, "; valid indices are ",
                       -s.axis, "..", s.axis - 1));
  }
}

std::unique_ptr<IndexState> PrepareIndices(const NodeDesc& d) {
  auto state = std::make_unique<IndexState>();
  const MemDesc &x = d.inputs[0], &indices = d.inputs[1];
  const int axis = ops::Axis(d.attr<int64_t>(0), x.rank);
  state->op = d.op;
  state->dtype = x.dtype;
  state->index_dtype = indices.dtype;
  state->axis = x.sizes[axis];
  state->count = indices.numel();
  for (int i = 0; i < axis; ++i) state->outer *= x.sizes[i];
  for (int i = axis + 1; i < x.rank; ++i) state->inner *= x.sizes[i];
  return state;
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) { return PrepareIndices(d); }

template <class T>
void GatherElements(const IndexState& s, const T* x, const void* indices, T* y) {
  const int64_t grain = kGrainBytes / static_cast<int64_t>(sizeof(T));
  ParallelFor(s.outer * s.count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = IndexAt(s, indices, i % s.count);
      y[i] = x[i / s.count * s.axis + (at < 0 ? at + s.axis : at)];
    }
  });
}

void LaunchGather(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const IndexState&>(state);
  const void* indices = ptrs[1];
  CheckIndices(s, indices);
  const int64_t row = s.inner * SizeOf(s.dtype);
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
  ParallelFor(s.outer * s.count, kGrainBytes / row + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = IndexAt(s, indices, i % s.count);
      const int64_t from = i / s.count * s.axis + (at < 0 ? at + s.axis : at);
      std::memcpy(y + i * row, x + from * row, static_cast<size_t>(row));
    }
  });
}

struct ScatterState final : KernelState {
  std::unique_ptr<IndexState> index;
  int64_t bytes = 0;
};

std::unique_ptr<KernelState> PrepareScatter(const NodeDesc& d) {
  auto state = std::make_unique<ScatterState>();
  state->index = PrepareIndices(d);
  state->bytes = d.outputs[0].bytes();
  return state;
}

template <class T>
T Sum(T a, T b) {
  if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
    return T(static_cast<float>(a) + static_cast<float>(b));
  } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    using U = std::make_unsigned_t<T>;  // wraps around instead of being undefined
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  } else {
    return static_cast<T>(a + b);
  }
}

// Threads share the columns, never the indices: each element is summed by one thread, in the order
// of the indices, so results do not depend on how many threads there are.
template <class T>
void Scatter(const IndexState& s, const void* indices, const T* updates, T* y) {
  const int64_t work = s.outer * s.count * static_cast<int64_t>(sizeof(T));
  const int64_t grain = std::max<int64_t>(1, kGrainBytes / std::max<int64_t>(1, work));
  ParallelFor(s.inner, std::max<int64_t>(grain, 64 / static_cast<int64_t>(sizeof(T))),
              [&](int64_t begin, int64_t end) {
                for (int64_t o = 0; o < s.outer; ++o) {
                  for (int64_t i = 0; i < s.count; ++i) {
                    const int64_t at = IndexAt(s, indices, i);
                    const T* u = updates + (o * s.count + i) * s.inner;
                    T* to = y + (o * s.axis + (at < 0 ? at + s.axis : at)) * s.inner;
                    for (int64_t k = begin; k < end; ++k) to[k] = Sum(to[k], u[k]);
                  }
                }
              });
}

void LaunchScatter(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ScatterState&>(state);
  CheckIndices(*s.index, ptrs[1]);
  if (ptrs[3] != ptrs[0]) std::memcpy(ptrs[3], ptrs[0], static_cast<size_t>(s.bytes));
  DispatchDType(s.index->dtype, [&]<class T>(T*) {
    Scatter(*s.index, ptrs[1], static_cast<const T*>(ptrs[2]), static_cast<T*>(ptrs[3]));
  });
}

struct OneHotState final : KernelState {
  IndexState index;
  int64_t depth = 0;
};

std::unique_ptr<KernelState> PrepareOneHot(const NodeDesc& d) {
  auto state = std::make_unique<OneHotState>();
  state->index.dtype = d.outputs[0].dtype;
  state->index.index_dtype = d.inputs[0].dtype;
  state->index.count = d.inputs[0].numel();
  state->depth = d.attr<int64_t>(0);
  return state;
}

void LaunchOneHot(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const OneHotState&>(state);
  const int64_t row = s.depth * SizeOf(s.index.dtype);
  std::memset(ptrs[1], 0,
              static_cast<size_t>(s.index.count * row));  // zero is all bits 0 in any dtype
  DispatchDType(s.index.dtype, [&]<class T>(T*) {
    T one;
    if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
      one = T(1.0f);
    } else {
      one = T(1);
    }
    T* y = static_cast<T*>(ptrs[1]);
    for (int64_t i = 0; i < s.index.count; ++i) {
      const int64_t at = IndexAt(s.index, ptrs[0], i);
      if (at >= 0 && at < s.depth) y[i * s.depth + at] = one;
    }
  });
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kGather,
     .impl = "rows",
     .supports = NeedsDense,
     .prepare = Prepare,
     .launch = LaunchGather},
    {.op = &ops::kScatterAdd,
     .impl = "rows",
     .supports = NeedsDense,
     .prepare = PrepareScatter,
     .launch = LaunchScatter,
     .alias_ok = [](const NodeDesc&, int, int in) { return in == 0; }},
    {.op = &ops::kOneHot,
     .impl = "rows",
     .supports = NeedsDense,
     .prepare = PrepareOneHot,
     .launch = LaunchOneHot},
};

}  // namespace

std::span<const KernelDef> DataKernels() { return kKernels; }

}  // namespace ostria::cpu
