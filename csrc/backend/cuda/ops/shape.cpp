// SPDX-License-Identifier: Apache-2.0
// Ops that only move elements. Most are one strided copy, of which transposes go through tiles;
// pad, slice_grad and roll place elements in a window; concat joins rows. flip and slice_at
// decompose into slice, squeeze, expand_dims and reshape are views.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "backend/cuda/launch/launch.h"
#include "backend/cuda/ops/kernels.h"
#include "core/tensor.h"
#include "kernels/shape/join.h"
#include "kernels/shape/transpose.h"
#include "kernels/shape/triangle.h"
#include "kernels/shape/window.h"
#include "ops/common/infer.h"
#include "ops/common/slice.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::CopyAxes;
using kernels::JoinParams;
using kernels::StridedCopyParams;
using kernels::TransposeParams;
using kernels::TriangleParams;
using kernels::WindowAxis;
using kernels::WindowParams;
using Ints = std::vector<int64_t>;

constexpr int kPerThread = 4;  // units that a thread moves at once
constexpr unsigned kBlock = 256;

// The axes of a copy from x into y of the node, and where it begins in x, in elements.
struct CopySpec {
  CopyAxes axes;
  int64_t src_begin = 0;
};

CopySpec OfTranspose(const NodeDesc& d) {
  const Ints& order = d.attr<Ints>(0);
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  CopySpec s;
  for (int i = 0; i < y.rank; ++i) {
    const int from = order.empty() ? y.rank - 1 - i : ops::Axis(order[i], y.rank);
    s.axes.Add(y.sizes[i], x.strides[from], y.strides[i]);
  }
  return s;
}

CopySpec OfBroadcast(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  CopySpec s;
  for (int i = 0; i < y.rank; ++i) {
    const int from = i - (y.rank - x.rank);
    const bool repeats = from < 0 || x.sizes[from] == 1;
    s.axes.Add(y.sizes[i], repeats ? 0 : x.strides[from], y.strides[i]);
  }
  return s;
}

CopySpec OfSlice(const NodeDesc& d) {
  const Ints &start = d.attr<Ints>(0), &stop = d.attr<Ints>(1), &step = d.attr<Ints>(2);
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  CopySpec s;
  for (int i = 0; i < y.rank; ++i) {
    const int64_t by = step.empty() ? 1 : step[i];
    s.src_begin += ops::ResolveSlice(x.sizes[i], start[i], stop[i], by).start * x.strides[i];
    // The step past the only element may be beyond all sizes.
    s.axes.Add(y.sizes[i], y.sizes[i] > 1 ? by * x.strides[i] : 0, y.strides[i]);
  }
  return s;
}

CopySpec OfTile(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  CopySpec s;
  for (int i = 0; i < y.rank; ++i) {
    const int from = i - (y.rank - x.rank);
    const int64_t size = from < 0 ? 1 : x.sizes[from];
    s.axes.Add(size == 0 ? 0 : y.sizes[i] / size, 0, y.strides[i] * size);
    s.axes.Add(size, from < 0 ? 0 : x.strides[from], y.strides[i]);
  }
  return s;
}

CopySpec OfRepeat(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  const int64_t times = d.attr<int64_t>(0);
  const int axis = ops::Axis(d.attr<int64_t>(1), y.rank);
  CopySpec s;
  for (int i = 0; i < y.rank; ++i) {
    s.axes.Add(x.sizes[i], x.strides[i], y.strides[i] * (i == axis ? times : 1));
    if (i == axis) s.axes.Add(times, 0, y.strides[i]);
  }
  return s;
}

using SpecFn = CopySpec (*)(const NodeDesc&);

template <SpecFn kSpec>
std::optional<StridedCopyParams> PlanOf(const NodeDesc& d) {
  const CopySpec spec = kSpec(d);
  const int64_t element = SizeOf(d.outputs[0].dtype);
  StridedCopyParams p;
  if (!kernels::PlanCopy(spec.axes, static_cast<int>(element), &p)) return std::nullopt;
  p.src_offset = spec.src_begin * element;
  return p;
}

template <SpecFn kSpec>
Support SupportsCopy(const NodeDesc& d) {
  if (!PlanOf<kSpec>(d).has_value()) {
    return Support::No("needs more than ", kernels::kMaxCopyAxes, " axes");
  }
  return NeedsDense(d);
}

template <SpecFn kSpec>
std::unique_ptr<KernelState> PrepareCopy(const NodeDesc& d) {
  auto state = std::make_unique<OneLaunch<StridedCopyParams>>();
  state->file = "shape/copy_strided";
  state->function = "copy_strided";
  state->params = *PlanOf<kSpec>(d);
  StridedCopyParams aligned = state->params;
  kernels::SetCopyAddresses(&aligned, nullptr, nullptr);
  state->shape.block = kBlock;
  state->shape.grid[0] = GridFor(aligned.units, kPerThread, kBlock, *d.device);
  state->point = [](StridedCopyParams* p, void* const* ptrs) {
    kernels::SetCopyAddresses(p, ptrs[0], ptrs[1]);
  };
  return state;
}

Support SupportsTiles(const NodeDesc& d) {
  TransposeParams p;
  if (!kernels::PlanTranspose(*PlanOf<OfTranspose>(d), &p)) {
    return Support::No("no two long axes trade places");
  }
  return NeedsDense(d);
}

std::unique_ptr<KernelState> PrepareTiles(const NodeDesc& d) {
  auto state = std::make_unique<OneLaunch<TransposeParams>>();
  state->file = "shape/transpose";
  state->function = StrCat("transpose_", SizeOf(d.outputs[0].dtype));
  kernels::PlanTranspose(*PlanOf<OfTranspose>(d), &state->params);
  state->shape.block = kernels::kTransposeThreads;
  state->shape.grid[0] = GridFor(state->params.tiles, 1, 1, *d.device);
  state->point = [](TransposeParams* p, void* const* ptrs) {
    p->src = ptrs[0];
    p->dst = ptrs[1];
  };
  return state;
}

// The element of y that stands where nothing of x does, repeated to 8 bytes.
uint64_t Repeated(double value, DType dtype) {
  const Tensor element = Tensor::Scalar(dtype, value);
  const size_t bytes = static_cast<size_t>(SizeOf(dtype));
  uint64_t bits = 0;
  for (size_t at = 0; at < sizeof bits; at += bytes) {
    std::memcpy(reinterpret_cast<char*>(&bits) + at, element.raw(), bytes);
  }
  return bits;
}

std::unique_ptr<KernelState> Window(const NodeDesc& d, const WindowParams& params) {
  const MemDesc& y = d.outputs[0];
  auto state = std::make_unique<OneLaunch<WindowParams>>();
  state->file = "shape/window";
  state->function = "window";
  state->params = params;
  state->params.units = y.numel();
  state->params.unit_bytes = static_cast<int32_t>(SizeOf(y.dtype));
  WindowParams aligned = state->params;
  kernels::SetWindowAddresses(&aligned, nullptr, nullptr);
  state->shape.block = kBlock;
  state->shape.grid[0] = GridFor(aligned.units, kPerThread, kBlock, *d.device);
  state->point = [](WindowParams* p, void* const* ptrs) {
    kernels::SetWindowAddresses(p, ptrs[0], ptrs[1]);
  };
  return state;
}

std::unique_ptr<KernelState> PreparePad(const NodeDesc& d) {
  const MemDesc &x = d.inputs[0], &y = d.outputs[0];
  const Ints& low = d.attr<Ints>(0);
  WindowParams p;
  p.fill = Repeated(d.attr<double>(2), y.dtype);
  for (int i = 0; i < y.rank; ++i) {
    kernels::AddAxis(
        &p, {.size = y.sizes[i], .low = low[i], .extent = x.sizes[i], .src_stride = x.strides[i]});
  }
  return Window(d, p);
}

std::unique_ptr<KernelState> PrepareSliceGrad(const NodeDesc& d) {
  const MemDesc &g = d.inputs[0], &dx = d.outputs[0];
  const Ints &start = d.attr<Ints>(1), &stop = d.attr<Ints>(2), &step = d.attr<Ints>(3);
  WindowParams p;
  for (int i = 0; i < dx.rank; ++i) {
    const int64_t by = step.empty() ? 1 : step[i];
    const ops::SliceRange range = ops::ResolveSlice(dx.sizes[i], start[i], stop[i], by);
    WindowAxis axis{.size = dx.sizes[i], .extent = range.size, .src_stride = g.strides[i]};
    if (range.size > 0) axis.low = range.start;
    if (range.size > 1) {
      axis.step = std::abs(range.step);
      if (range.step < 0) {  // the last element of g comes first
        axis.low += (range.size - 1) * range.step;
        axis.src_stride = -axis.src_stride;
        p.src_offset += (range.size - 1) * g.strides[i] * SizeOf(g.dtype);
      }
    }
    kernels::AddAxis(&p, axis);
  }
  return Window(d, p);
}

std::unique_ptr<KernelState> PrepareRoll(const NodeDesc& d) {
  const Ints &shift = d.attr<Ints>(0), &axes = d.attr<Ints>(1);
  MemDesc x = d.inputs[0];
  if (axes.empty()) x = MemDesc::Dense(x.dtype, {x.numel()});
  Ints by(kMaxRank, 0);  // in 0..size-1
  for (size_t i = 0; i < std::max<size_t>(axes.size(), 1); ++i) {
    const int axis = axes.empty() ? 0 : ops::Axis(axes[i], x.rank);
    const int64_t n = x.sizes[axis];
    if (n > 0) by[axis] = (by[axis] + shift[shift.size() == 1 ? 0 : i] % n + n) % n;
  }
  WindowParams p;
  for (int i = 0; i < x.rank; ++i) {
    kernels::AddAxis(&p, {.size = x.sizes[i],
                          .low = by[i],
                          .extent = x.sizes[i],
                          .src_stride = x.strides[i],
                          .wraps = by[i] > 0 ? 1 : 0});
  }
  return Window(d, p);
}

template <bool kUpper>
std::unique_ptr<KernelState> PrepareTriangle(const NodeDesc& d) {
  const MemDesc& y = d.outputs[0];
  auto state = std::make_unique<OneLaunch<TriangleParams>>();
  state->file = "shape/triangle";
  state->function = StrCat("triangle_", SizeOf(y.dtype));
  TriangleParams& p = state->params;
  p.elements = y.numel();
  p.rows = y.sizes[y.rank - 2];
  p.columns = y.sizes[y.rank - 1];
  p.diagonal = d.attr<int64_t>(0);
  p.upper = kUpper ? 1 : 0;
  p.wide = p.elements >= int64_t{1} << 31 ? 1 : 0;
  if (p.wide == 0) {
    p.by_rows = kernels::Divisor::Of(std::max<int64_t>(p.rows, 1));
    p.by_columns = kernels::Divisor::Of(std::max<int64_t>(p.columns, 1));
  }
  state->shape.block = kBlock;
  state->shape.grid[0] = GridFor(p.elements, kPerThread, kBlock, *d.device);
  state->point = [](TriangleParams* q, void* const* ptrs) {
    q->src = ptrs[0];
    q->dst = ptrs[1];
  };
  return state;
}

// As many launches as there are kMaxJoinParts inputs.
struct Concat final : KernelState {
  struct Launch {
    JoinParams params;
    int first = 0;           // input
    int64_t dst_offset = 0;  // bytes
    LaunchShape shape;
  };
  std::vector<Launch> launches;
  size_t inputs = 0;
  std::vector<std::string> LaunchNames() const override {
    return std::vector<std::string>(launches.size(), "join");
  }
};

struct BoundConcat final : KernelState {
  std::shared_ptr<const Concat> plan;
  const CudaStream* stream = nullptr;
  CUfunction function = nullptr;
};

std::unique_ptr<KernelState> PrepareConcat(const NodeDesc& d) {
  const MemDesc& y = d.outputs[0];
  const int axis = ops::Axis(d.attr<int64_t>(0), y.rank);
  const int64_t element = SizeOf(y.dtype);
  int64_t inner = 1, rows = 1;
  for (int i = 0; i < axis; ++i) rows *= y.sizes[i];
  for (int i = axis + 1; i < y.rank; ++i) inner *= y.sizes[i];
  auto state = std::make_unique<Concat>();
  state->inputs = d.inputs.size();
  int64_t begin = 0;
  for (size_t first = 0; first < d.inputs.size(); first += kernels::kMaxJoinParts) {
    Concat::Launch& launch = state->launches.emplace_back();
    JoinParams& p = launch.params;
    launch.first = static_cast<int>(first);
    launch.dst_offset = begin * element;
    p.rows = rows;
    p.pitch = y.sizes[axis] * inner;
    p.unit_bytes = static_cast<int32_t>(element);
    int64_t end = 0;
    for (size_t i = first; i < d.inputs.size() && p.parts < kernels::kMaxJoinParts; ++i) {
      end += d.inputs[i].sizes[axis] * inner;
      p.part[p.parts++].end = end;
    }
    begin += end;
    JoinParams aligned = p;
    kernels::SetJoinUnit(&aligned);
    launch.shape.block = kBlock;
    launch.shape.grid[0] =
        GridFor(rows * aligned.part[p.parts - 1].end, kPerThread, kBlock, *d.device);
  }
  return state;
}

std::unique_ptr<KernelState> BindConcat(const std::shared_ptr<const KernelState>& state,
                                        const BindContext& to) {
  auto bound = std::make_unique<BoundConcat>();
  bound->plan = std::static_pointer_cast<const Concat>(state);
  bound->stream = &StreamOf(to);
  bound->function = StreamOf(to).cuda().Kernel("shape/join", "join");
  return bound;
}

void LaunchConcat(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BoundConcat&>(state);
  for (const Concat::Launch& launch : s.plan->launches) {
    JoinParams p = launch.params;
    if (p.part[p.parts - 1].end == 0) continue;
    p.dst = static_cast<std::byte*>(ptrs[s.plan->inputs]) + launch.dst_offset;
    for (int i = 0; i < p.parts; ++i) p.part[i].src = ptrs[launch.first + i];
    kernels::SetJoinUnit(&p);
    LaunchKernel(*s.stream, s.function, launch.shape, &p, sizeof p);
  }
}

template <SpecFn kSpec>
constexpr KernelDef Copying(const OpDef& op) {
  return {.op = &op,
          .impl = "copy",
          .supports = SupportsCopy<kSpec>,
          .prepare = PrepareCopy<kSpec>,
          .launch = RunOne<StridedCopyParams>,
          .bind = BindOne<StridedCopyParams>};
}

template <class Params>
constexpr KernelDef Single(const OpDef& op, std::string_view impl,
                           std::unique_ptr<KernelState> (*prepare)(const NodeDesc&)) {
  return {.op = &op,
          .impl = impl,
          .supports = NeedsDense,
          .prepare = prepare,
          .launch = RunOne<Params>,
          .bind = BindOne<Params>};
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kTranspose,
     .impl = "tiles",
     .supports = SupportsTiles,
     .prepare = PrepareTiles,
     .launch = RunOne<TransposeParams>,
     .bind = BindOne<TransposeParams>},
    Copying<OfTranspose>(ops::kTranspose),
    Copying<OfBroadcast>(ops::kBroadcastTo),
    Copying<OfSlice>(ops::kSlice),
    Copying<OfTile>(ops::kTile),
    Copying<OfRepeat>(ops::kRepeat),
    Single<WindowParams>(ops::kPad, "window", PreparePad),
    Single<WindowParams>(ops::kSliceGrad, "window", PrepareSliceGrad),
    Single<WindowParams>(ops::kRoll, "window", PrepareRoll),
    Single<TriangleParams>(ops::kTril, "triangle", PrepareTriangle<false>),
    Single<TriangleParams>(ops::kTriu, "triangle", PrepareTriangle<true>),
    {.op = &ops::kConcat,
     .impl = "join",
     .supports = NeedsDense,
     .prepare = PrepareConcat,
     .launch = LaunchConcat,
     .bind = BindConcat},
};

}  // namespace

std::span<const KernelDef> ShapeKernels() { return kKernels; }

}  // namespace ostria::cuda
