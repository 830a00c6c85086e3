// SPDX-License-Identifier: Apache-2.0
#include "passes/match.h"

#include <algorithm>
#include <cmath>

#include "ops/common/slice.h"
#include "ops/ops.h"

namespace ostria {

NodeId ProducedBy(const Graph& graph, Value v, const OpDef& op) {
  const NodeId n = graph.producer(v);
  return n.valid() && graph.is(n, op) ? n : NodeId{};
}

namespace {

std::optional<double> OnlyElement(const Tensor& t) {
  if (t.numel() != 1) return std::nullopt;
  return DispatchDType(t.dtype(), [&]<class T>(T*) -> std::optional<double> {
    if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
      return static_cast<double>(static_cast<float>(*t.data<T>()));
    } else if constexpr (std::is_integral_v<T> && sizeof(T) == 8) {
      constexpr T kLimit = T{1} << 53;
      const T value = *t.data<T>();
      if (value > kLimit || (std::is_signed_v<T> && value < T{0} - kLimit)) return std::nullopt;
      return static_cast<double>(value);
    } else {
      return static_cast<double>(*t.data<T>());
    }
  });
}

}  // namespace

std::optional<double> UniformValue(const Graph& graph, Value v) {
  const NodeId n = graph.producer(v);
  if (!n.valid()) return std::nullopt;
  if (graph.is(n, ops::kFull)) return graph.attr<double>(n, FullAttr::kValue);
  if (graph.is(n, ops::kConstant)) return OnlyElement(graph.attr<Tensor>(n, 0));
  return std::nullopt;
}

Value UniformScalar(Graph& graph, DType dtype, double number, LocationId location, NodeId before) {
  return graph.result(graph.AddNode(ops::kFull, {}, {Shape{}, dtype, number}, location, before));
}

bool IsConvolution(const OpDef& op) {
  return &op == &ops::kConv1d || &op == &ops::kConv2d || &op == &ops::kConv3d;
}

std::vector<int> ReducedAxes(const Graph& graph, NodeId n) {
  const int rank = graph.shape(graph.operand(n, 0)).rank();
  std::vector<int> axes;
  for (int64_t a : graph.attr<std::vector<int64_t>>(n, ReduceAttr::kAxis)) {
    axes.push_back(static_cast<int>(a < 0 ? a + rank : a));
  }
  if (axes.empty()) {
    for (int i = 0; i < rank; ++i) axes.push_back(i);
  }
  std::sort(axes.begin(), axes.end());
  return axes;
}

Origins::Origins(const Graph& graph) : graph_(graph) {
  for (Value v : graph.inputs()) Set(v, Origin::kRun);
  for (const StateEntry& s : graph.state()) {
    Set(s.in, s.in == s.out ? Origin::kState : Origin::kRun);
  }
}

void Origins::Set(Value v, Origin origin) {
  const auto i = static_cast<size_t>(v.id);
  if (known_.size() <= i) known_.resize(i + 1, Origin::kRun);
  known_[i] = origin;
}

Origin Origins::Of(NodeId n) const {
  const Traits& traits = graph_.op(n).traits;
  if (!traits.pure || traits.ordered) return Origin::kRun;
  Origin origin = Origin::kConstant;
  for (int i = 0; i < graph_.num_operands(n); ++i) {
    origin = std::max(origin, (*this)[graph_.operand(n, i)]);
  }
  return origin;
}

void Origins::Add(NodeId n) {
  const Origin origin = Of(n);
  for (int i = 0; i < graph_.num_results(n); ++i) Set(graph_.result(n, i), origin);
}

std::optional<AxisSlice> SliceOf(const Graph& graph, Value v) {
  const NodeId n = ProducedBy(graph, v, ops::kSliceAt);
  if (!n.valid()) return std::nullopt;
  enum Attribute { kAxis, kStart, kSize };
  const Value x = graph.operand(n, 0);
  const auto axis = static_cast<int>(graph.attr<int64_t>(n, kAxis));
  return AxisSlice{x, axis < 0 ? axis + graph.shape(x).rank() : axis,
                   graph.attr<Shape>(n, kStart)[0].value(), graph.attr<Shape>(n, kSize)[0].value()};
}

std::vector<int64_t> SizesOf(const Graph& graph, Value v) {
  std::vector<int64_t> out;
  for (Dim d : graph.shape(v)) out.push_back(d.value());
  return out;
}

bool IsFold(const Graph& graph, NodeId n) {
  return graph.is(n, ops::kSum) || graph.is(n, ops::kMean) || graph.is(n, ops::kMax) ||
         graph.is(n, ops::kMin);
}

bool IsView(const Graph& graph, NodeId n) {
  return graph.op(n).traits.view && graph.num_operands(n) == 1 && graph.num_results(n) == 1 &&
         graph.dtype(graph.operand(n, 0)) == graph.dtype(graph.result(n));
}

bool IsNearlyAll(const Graph& graph, NodeId n) {
  constexpr int64_t kPart = 16;  // of which one is not in the slice at most
  if (!ops::IsLeadingSlice(graph, n)) return false;
  const int64_t all = graph.shape(graph.operand(n, 0)).numel();
  const int64_t some = graph.shape(graph.result(n)).numel();
  return some > 0 && (all - some) * kPart <= all;
}

bool SharesMemory(const Graph& graph, NodeId n) {
  if (graph.op(n).traits.view) return true;
  if (!graph.is(n, ops::kSlice)) return false;
  const Value x = graph.operand(n, 0);
  const NodeId p = graph.producer(x);
  if (!p.valid() || graph.is(p, ops::kConstant) || !IsNearlyAll(graph, n)) return false;
  const Shape &all = graph.shape(x), &rows = graph.shape(graph.result(n));
  for (int d = 1; d < all.rank(); ++d) {
    if (!(all[d] == rows[d])) return false;
  }
  return true;
}

std::optional<ValueType> TypeWithOperand(const Graph& graph, NodeId n, int i, Value v) {
  std::vector<ValueType> inputs, outputs;
  for (int j = 0; j < graph.num_operands(n); ++j) {
    inputs.push_back(graph.type(j == i ? v : graph.operand(n, j)));
  }
  try {
    InferTypes(graph.op(n), inputs, graph.attrs(n), &outputs);
  } catch (const Error&) {
    return std::nullopt;
  }
  return outputs[0];
}

NodeId OnlyUser(const Graph& graph, Value v) {
  return graph.num_uses(v) == 1 && !graph.is_output(v) ? graph.uses(v)[0].user : NodeId{};
}

bool HasKernel(const PassContext& context, const Graph& graph, const OpDef& op,
               std::span<const Attr> attrs, std::span<const Value> operands) {
  if (!context.has_kernel) return true;
  std::vector<ValueType> types;
  for (const Value v : operands) types.push_back(graph.type(v));
  return context.has_kernel(op, attrs, types);
}

}  // namespace ostria
