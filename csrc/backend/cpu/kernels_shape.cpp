// SPDX-License-Identifier: Apache-2.0
// Ops that only move elements, and the sources full and iota. All are fills and strided copies.
#include <algorithm>
#include <array>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/copy.h"
#include "ops/common/infer.h"
#include "ops/common/slice.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

using Ints = std::vector<int64_t>;
using Strides = std::array<int64_t, kMaxRank>;

// A copy of elements of `m`'s dtype and shape.
StridedCopyProgram Copy(const MemDesc& m, const Strides& src, const Strides& dst) {
  return PrepareStridedCopy({.element_size = static_cast<int>(SizeOf(m.dtype)),
                             .rank = m.rank,
                             .sizes = m.sizes.data(),
                             .src_strides = src.data(),
                             .dst_strides = dst.data()});
}

void OneElement(double value, DType dtype, void* dst) {
  Cast(DType::kFloat64, &value, dtype, dst, 1);
}

// One strided copy of the first input, which may begin inside of source or target.
struct CopyState final : KernelState {
  StridedCopyProgram copy;
  int64_t src_offset = 0, dst_offset = 0;  // bytes
  int64_t fill_bytes = 0;                  // of the target, before the copy: 0 is none
  int element_bytes = 1;
  alignas(8) std::byte value[8] = {};
};

void LaunchCopy(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const CopyState&>(state);
  if (s.fill_bytes > 0) Fill(ptrs[1], s.value, s.element_bytes, s.fill_bytes / s.element_bytes);
  RunStridedCopy(s.copy, static_cast<const std::byte*>(ptrs[0]) + s.src_offset,
                 static_cast<std::byte*>(ptrs[1]) + s.dst_offset);
}

std::unique_ptr<KernelState> PrepareTranspose(const NodeDesc& d) {
  const Ints& axes = d.attr<Ints>(0);
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  Strides src{};
  for (int i = 0; i < y.rank; ++i) {
    src[i] = x.strides[axes.empty() ? y.rank - 1 - i : ops::Axis(axes[i], y.rank)];
  }
  auto state = std::make_unique<CopyState>();
  state->copy = Copy(y, src, y.strides);
  return state;
}

std::unique_ptr<KernelState> PrepareBroadcast(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  Strides src{};
  for (int i = 0; i < x.rank; ++i) {
    src[i + y.rank - x.rank] = x.sizes[i] == 1 ? 0 : x.strides[i];
  }
  auto state = std::make_unique<CopyState>();
  state->copy = Copy(y, src, y.strides);
  return state;
}

// Where a slice of `whole` begins, and its strides there.
int64_t SliceStrides(const MemDesc& whole, const Ints& start, const Ints& stop, const Ints& step,
                     Strides* strides) {
  int64_t offset = 0;
  for (int i = 0; i < whole.rank; ++i) {
    const int64_t by = step.empty() ? 1 : step[i];
    const ops::SliceRange range = ops::ResolveSlice(whole.sizes[i], start[i], stop[i], by);
    offset += range.start * whole.strides[i];
    (*strides)[i] = by * whole.strides[i];
  }
  return offset * SizeOf(whole.dtype);
}

std::unique_ptr<KernelState> PrepareSlice(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  auto state = std::make_unique<CopyState>();
  Strides src{};
  state->src_offset = SliceStrides(x, d.attr<Ints>(0), d.attr<Ints>(1), d.attr<Ints>(2), &src);
  state->copy = Copy(y, src, y.strides);
  return state;
}

std::unique_ptr<KernelState> PrepareSliceGrad(const NodeDesc& d) {
  const MemDesc &g = d.inputs[0], &dx = d.outputs[0];
  auto state = std::make_unique<CopyState>();
  state->element_bytes = static_cast<int>(SizeOf(g.dtype));
  state->fill_bytes = g.numel() == dx.numel() ? 0 : dx.bytes();
  Strides dst{};
  state->dst_offset = SliceStrides(dx, d.attr<Ints>(1), d.attr<Ints>(2), d.attr<Ints>(3), &dst);
  state->copy = Copy(g, g.strides, dst);
  return state;
}

std::unique_ptr<KernelState> PreparePad(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  const Ints& low = d.attr<Ints>(0);
  auto state = std::make_unique<CopyState>();
  state->element_bytes = static_cast<int>(SizeOf(x.dtype));
  state->fill_bytes = x.numel() == y.numel() ? 0 : y.bytes();
  OneElement(d.attr<double>(2), x.dtype, state->value);
  for (int i = 0; i < x.rank; ++i) state->dst_offset += low[i] * y.strides[i] * SizeOf(x.dtype);
  state->copy = Copy(x, x.strides, y.strides);
  return state;
}

struct ConcatState final : KernelState {
  struct Part {
    StridedCopyProgram copy;
    int64_t dst_offset, src_offset = 0;  // bytes
  };
  std::vector<Part> parts;
};

std::unique_ptr<KernelState> PrepareConcat(const NodeDesc& d) {
  const MemDesc& y = d.outputs[0];
  const int axis = ops::Axis(d.attr<int64_t>(0), y.rank);
  auto state = std::make_unique<ConcatState>();
  int64_t at = 0;
  for (const MemDesc& x : d.inputs) {
    state->parts.push_back({Copy(x, x.strides, y.strides), at * y.strides[axis] * SizeOf(y.dtype)});
    at += x.sizes[axis];
  }
  return state;
}

void LaunchConcat(const KernelState& state, void* const* ptrs) {
  const auto& parts = static_cast<const ConcatState&>(state).parts;
  auto* y = static_cast<std::byte*>(ptrs[parts.size()]);
  for (size_t i = 0; i < parts.size(); ++i)
    RunStridedCopy(parts[i].copy, ptrs[i], y + parts[i].dst_offset);
}

// Along one axis, or all as one: what comes to the front, then the rest.
Support SupportsRoll(const NodeDesc& d) {
  if (d.attr<Ints>(1).size() > 1) return Support::No("rolls along several axes");
  return NeedsDense(d);
}

std::unique_ptr<KernelState> PrepareRoll(const NodeDesc& d) {
  MemDesc x = d.inputs[0];
  const Ints& axes = d.attr<Ints>(1);
  if (axes.empty()) x = MemDesc::Dense(x.dtype, {x.numel()});
  const int axis = axes.empty() ? 0 : ops::Axis(axes[0], x.rank);
  const int64_t n = x.sizes[axis], row = x.strides[axis] * SizeOf(x.dtype);
  const int64_t by = (d.attr<Ints>(0)[0] % n + n) % n;
  auto state = std::make_unique<ConcatState>();
  const auto add = [&](int64_t from, int64_t to, int64_t count) {
    MemDesc part = x;
    part.sizes[axis] = count;
    state->parts.push_back({Copy(part, x.strides, x.strides), to * row, from * row});
  };
  if (by > 0) add(n - by, 0, by);
  add(0, by, n - by);
  return state;
}

void LaunchRoll(const KernelState& state, void* const* ptrs) {
  for (const auto& part : static_cast<const ConcatState&>(state).parts) {
    RunStridedCopy(part.copy, static_cast<const std::byte*>(ptrs[0]) + part.src_offset,
                   static_cast<std::byte*>(ptrs[1]) + part.dst_offset);
  }
}

struct SourceState final : KernelState {
  DType dtype;
  int64_t n = 0;
  alignas(8) std::byte value[8] = {};
};

std::unique_ptr<KernelState> PrepareFull(const NodeDesc& d) {
  auto state = std::make_unique<SourceState>();
  state->dtype = d.outputs[0].dtype;
  state->n = d.outputs[0].numel();
  OneElement(d.attr<double>(2), state->dtype, state->value);
  return state;
}

void LaunchFull(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const SourceState&>(state);
  Fill(ptrs[0], s.value, static_cast<int>(SizeOf(s.dtype)), s.n);
}

std::unique_ptr<KernelState> PrepareIota(const NodeDesc& d) {
  auto state = std::make_unique<SourceState>();
  state->dtype = d.outputs[0].dtype;
  state->n = d.outputs[0].numel();
  return state;
}

void LaunchIota(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const SourceState&>(state);
  auto* y = static_cast<std::byte*>(ptrs[0]);
  constexpr int64_t kChunk = 512;
  int64_t numbers[kChunk];
  for (int64_t i = 0; i < s.n; i += kChunk) {
    const int64_t m = std::min(kChunk, s.n - i);
    for (int64_t k = 0; k < m; ++k) numbers[k] = i + k;
    Cast(DType::kInt64, numbers, s.dtype, y + i * SizeOf(s.dtype), m);
  }
}

constexpr KernelDef Copying(const OpDef& op,
                            std::unique_ptr<KernelState> (*prepare)(const NodeDesc&)) {
  return {.op = &op,
          .impl = "copy",
          .supports = [](const NodeDesc&) { return Support::Yes(); },
          .prepare = prepare,
          .launch = LaunchCopy};
}

constexpr KernelDef kKernels[] = {
    Copying(ops::kTranspose, PrepareTranspose),
    Copying(ops::kBroadcastTo, PrepareBroadcast),
    Copying(ops::kSlice, PrepareSlice),
    {.op = &ops::kSliceGrad,
     .impl = "copy",
     .supports = NeedsDense,
     .prepare = PrepareSliceGrad,
     .launch = LaunchCopy},
    {.op = &ops::kPad,
     .impl = "copy",
     .supports = NeedsDense,
     .prepare = PreparePad,
     .launch = LaunchCopy},
    {.op = &ops::kConcat,
     .impl = "copy",
     .supports = [](const NodeDesc&) { return Support::Yes(); },
     .prepare = PrepareConcat,
     .launch = LaunchConcat},
    {.op = &ops::kRoll,
     .impl = "copy",
     .supports = SupportsRoll,
     .prepare = PrepareRoll,
     .launch = LaunchRoll},
    {.op = &ops::kFull,
     .impl = "fill",
     .supports = NeedsDense,
     .prepare = PrepareFull,
     .launch = LaunchFull},
    {.op = &ops::kIota,
     .impl = "count",
     .supports = NeedsDense,
     .prepare = PrepareIota,
     .launch = LaunchIota},
};

}  // namespace

std::span<const KernelDef> ShapeKernels() { return kKernels; }

}  // namespace ostria::cpu
