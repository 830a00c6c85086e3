// SPDX-License-Identifier: Apache-2.0
// Scatters and segments: slices of a tensor seen as [outer, axis, inner], named by indices along
// the axis. Every element is made in the order of the indices: the CPU's bits.
#include <cstring>
#include <limits>

#include "backend/cuda/launch/indices.h"
#include "backend/cuda/launch/run_launches.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/fill/fill.h"
#include "ops/common/scatter.h"

namespace ostria::cuda {
namespace {

struct Rule {
  const OpDef* op;
  std::string_view name;
};
constexpr Rule kRules[] = {{&ops::kScatterAdd, "sum"}, {&ops::kScatterMax, "max"},
                           {&ops::kScatterMin, "min"}, {&ops::kScatterUpdate, "update"},
                           {&ops::kSegmentSum, "sum"}, {&ops::kSegmentMax, "max"},
                           {&ops::kSegmentMin, "min"}, {&ops::kSegmentMean, "mean"}};

// `axis`: of the output.
ManyToOne Describe(const NodeDesc& node, int axis, bool from_the_end) {
  const MemDesc &y = node.outputs[0], &indices = node.inputs[1];
  ManyToOne what;
  for (const Rule& rule : kRules) {
    if (rule.op == node.op) what.rule = rule.name;
  }
  what.dtype = y.dtype;
  what.keys.elements = what.keys.count = what.runs.count = indices.numel();
  what.keys.law = LawOf(indices, y.sizes[axis]);
  what.keys.law.from_the_end = from_the_end ? 1 : 0;
  what.runs.size = y.sizes[axis];
  for (int i = 0; i < axis; ++i) what.runs.outer *= y.sizes[i];
  for (int i = axis + 1; i < y.rank; ++i) what.runs.inner *= y.sizes[i];
  return what;
}

ManyToOne OfScatter(const NodeDesc& node) {
  const int axis = ops::Axis(node.attr<int64_t>(ops::kScatterAxis), node.outputs[0].rank);
  return Describe(node, axis, true);
}

// A segment has no end to count from.
ManyToOne OfSegments(const NodeDesc& node) { return Describe(node, 0, false); }

template <ManyToOne (*kOf)(const NodeDesc&)>
Support Supports(const NodeDesc& node) {
  const Support runs = SupportsRuns(kOf(node));
  return runs.ok ? NeedsDense(node) : runs;
}

std::unique_ptr<KernelState> PrepareScatter(const NodeDesc& node) {
  auto state = std::make_unique<Launches>();
  AddScatterCopy(state.get(), node);
  AddRuns(state.get(), node, OfScatter(node), 1, 2);
  return state;
}

// What a segment of nothing holds.
template <class T>
T Initial(std::string_view rule) {
  if (rule == "sum" || rule == "mean") return T(0);
  if constexpr (std::is_integral_v<T>) {
    return rule == "max" ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max();
  } else {
    const float infinity = std::numeric_limits<float>::infinity();
    return T(rule == "max" ? -infinity : infinity);
  }
}

std::unique_ptr<KernelState> PrepareSegments(const NodeDesc& node) {
  auto state = std::make_unique<Launches>();
  const MemDesc& y = node.outputs[0];
  const ManyToOne what = OfSegments(node);
  kernels::FillParams fill;
  fill.elements = y.numel();
  DispatchDType(y.dtype, [&]<class T>(T*) {
    const T initial = Initial<T>(what.rule);
    std::memcpy(&fill.bits, &initial, sizeof initial);
  });
  LaunchShape shape;
  shape.grid[0] = GridFor(y.bytes(), 64, shape.block, *node.device);
  state->Add("fill/fill", StrCat("fill_", SizeOf(y.dtype)), shape, fill)
      .Point(&kernels::FillParams::dst, {2});
  AddRuns(state.get(), node, what, 1, 0);
  return state;
}

constexpr KernelDef Scattering(const OpDef* op) {
  return {.op = op,
          .impl = "sorted",
          .supports = Supports<OfScatter>,
          .prepare = PrepareScatter,
          .launch = RunMany,
          .alias_ok = [](const NodeDesc&, int, int in) { return in == 0; },
          .bind = BindMany};
}

constexpr KernelDef Segments(const OpDef* op) {
  return {.op = op,
          .impl = "sorted",
          .supports = Supports<OfSegments>,
          .prepare = PrepareSegments,
          .launch = RunMany,
          .bind = BindMany};
}

constexpr KernelDef kKernels[] = {
    Scattering(&ops::kScatterAdd),    Scattering(&ops::kScatterMax), Scattering(&ops::kScatterMin),
    Scattering(&ops::kScatterUpdate), Segments(&ops::kSegmentSum),   Segments(&ops::kSegmentMax),
    Segments(&ops::kSegmentMin),      Segments(&ops::kSegmentMean),
};

}  // namespace

std::span<const KernelDef> DataKernels() { return kKernels; }

}  // namespace ostria::cuda
