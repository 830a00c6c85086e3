// SPDX-License-Identifier: Apache-2.0
// A reference executor of a few lines: node by node, first CPU implementation that fits, else the
// decomposition. With it, tests compare decompositions with kernels and derivatives with
// differences.
#pragma once

#include <map>

#include "autodiff/gradient.h"
#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "tests/unit/backend/cpu/conformance.h"

namespace ostria {
Backend* CpuBackend();
}

namespace ostria::cpu {

inline std::vector<Tensor> Evaluate(const Graph& g, const std::vector<Tensor>& inputs);

inline std::vector<Tensor> EvaluateNode(const OpDef& op, const std::vector<Attr>& attrs,
                                        const std::vector<Tensor>& inputs, bool decompose) {
  std::vector<ValueType> types, results;
  for (const Tensor& t : inputs) types.push_back({t.dtype(), t.shape()});
  InferTypes(op, types, attrs, &results);
  if (&op == &ops::kConstant) return {std::get<Tensor>(attrs[0])};
  if (op.traits.view) return {Tensor(results[0].dtype, results[0].shape, inputs[0].buffer())};
  std::vector<MemDesc> in, out;
  for (const ValueType& t : types) in.push_back(MemDesc::Dense(t.dtype, t.shape));
  for (const ValueType& t : results) out.push_back(MemDesc::Dense(t.dtype, t.shape));
  DeviceProps props;
  const NodeDesc desc{&op, attrs, in, out, &props};
  std::string reasons;
  for (const KernelDef& kernel : CpuBackend()->Kernels()) {
    if ((kernel.op != nullptr && kernel.op != &op) || decompose) continue;
    const Support support = kernel.supports(desc);
    reasons += StrCat(" ", kernel.impl, ": ", support.reason);
    if (!support.ok) continue;
    const auto state = kernel.prepare(desc);
    std::vector<Tensor> outputs;
    std::vector<void*> ptrs;
    for (const Tensor& t : inputs) ptrs.push_back(t.raw());
    for (const ValueType& t : results) {
      outputs.push_back(Tensor::Empty(t.dtype, t.shape));
      ptrs.push_back(outputs.back().raw());
    }
    const Tensor workspace = Tensor::Empty(DType::kUInt8, {state->workspace_bytes + 256});
    ptrs.push_back(workspace.raw());
    kernel.launch(*state, ptrs.data());
    return outputs;
  }
  if (op.decompose == nullptr) {
    ADD_FAILURE() << op.name << " has neither kernel nor decomposition:" << reasons;
    return {};
  }
  Graph g;
  std::vector<Value> values;
  for (size_t i = 0; i < types.size(); ++i)
    values.push_back(g.AddInput(StrCat("x", i), types[i], 0));
  Builder b(g, 0);
  const std::vector<Value> made = op.decompose(b, values, attrs);
  EXPECT_EQ(made.size(), results.size()) << op.name;
  for (size_t i = 0; i < made.size(); ++i) {
    EXPECT_EQ(ToString(g.type(made[i])), ToString(results[i])) << "decomposition of " << op.name;
    g.AddOutput(StrCat("y", i), made[i]);
  }
  return Evaluate(g, inputs);
}

inline std::vector<Tensor> Evaluate(const Graph& g, const std::vector<Tensor>& inputs) {
  std::map<int32_t, Tensor> values;
  for (size_t i = 0; i < inputs.size(); ++i) values[g.inputs()[i].id] = inputs[i];
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    std::vector<Tensor> operands;
    for (int i = 0; i < g.num_operands(n); ++i) operands.push_back(values.at(g.operand(n, i).id));
    const auto attrs = g.attrs(n);
    const auto results = EvaluateNode(g.op(n), {attrs.begin(), attrs.end()}, operands, false);
    for (size_t i = 0; i < results.size(); ++i) {
      values[g.result(n, static_cast<int>(i)).id] = results[i];
    }
  }
  std::vector<Tensor> out;
  for (Value v : g.outputs()) out.push_back(values.at(v.id));
  return out;
}

inline Tensor ToTensor(const ValueType& type, const std::vector<double>& values) {
  Tensor t = Tensor::Empty(type.dtype, type.shape);
  Guarded g(MemDesc::Dense(type.dtype, type.shape));
  g.set(values);
  std::memcpy(t.raw(), g.data(), t.bytes());
  return t;
}

inline std::vector<double> ToValues(const Tensor& t) {
  Guarded g(MemDesc::Dense(t.dtype(), t.shape()));
  std::memcpy(g.data(), t.raw(), t.bytes());
  return g.values();
}

inline std::vector<Tensor> ToTensors(const NodeCase& node, const Values& inputs) {
  std::vector<Tensor> out;
  for (size_t i = 0; i < inputs.size(); ++i) out.push_back(ToTensor(node.inputs[i], inputs[i]));
  return out;
}

/// The decomposition gives what the first implementation gives.
inline void ExpectDecomposes(const NodeCase& node, const Values& inputs, double tolerance) {
  const auto tensors = ToTensors(node, inputs);
  const auto want = EvaluateNode(*node.op, node.attrs, tensors, false);
  const auto got = EvaluateNode(*node.op, node.attrs, tensors, true);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ExpectNear(ToValues(got[i]), ToValues(want[i]), tolerance,
               StrCat("decomposition of ", node.op->name, ", output ", i));
  }
}

/// float64 graph of sum over float outputs of sum(y * r) for fixed random r; inputs are the node's.
inline Graph ScalarGraph(const NodeCase& node, std::vector<Value>* inputs, Value* loss) {
  Graph g;
  Builder b(g, 0);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    inputs->push_back(g.AddInput(StrCat("x", i), node.inputs[i], 0));
  }
  std::mt19937 rng(5);
  std::normal_distribution<double> normal;
  for (Value y : b.Multi(*node.op, *inputs, node.attrs)) {
    const ValueType type = g.type(y);
    if (!IsFloat(type.dtype)) continue;
    std::vector<double> weights(type.shape.numel());
    for (double& w : weights) w = normal(rng);
    const Value r = b(ops::kConstant, {}, {ToTensor(type, weights)});
    const Value part = b(ops::kSum, {b(ops::kMultiply, {y, r})});
    *loss = loss->valid() ? b(ops::kAdd, {*loss, part}) : part;
  }
  return g;
}

/// Compares derivatives with central differences, `order` 1 or 2, for every float64 input.
inline void ExpectGradients(const NodeCase& node, const Values& inputs, int order,
                            double tolerance = 2e-5) {
  std::vector<Value> in;
  Value loss;
  Graph g = ScalarGraph(node, &in, &loss);
  std::vector<Value> wrt;
  std::vector<int> index;
  for (size_t i = 0; i < in.size(); ++i) {
    if (g.dtype(in[i]) != DType::kFloat64) continue;
    wrt.push_back(in[i]);
    index.push_back(static_cast<int>(i));
  }
  const Value one[] = {loss};
  std::vector<Value> gradients = Gradients(g, one, {}, wrt);
  if (order == 2) {
    // The scalar to differentiate again: sum over gradients of sum(gradient * r).
    Builder b(g, 0);
    std::mt19937 rng(9);
    std::normal_distribution<double> normal;
    Value second;
    for (Value d : gradients) {
      const ValueType type = g.type(d);
      std::vector<double> weights(type.shape.numel());
      for (double& w : weights) w = normal(rng);
      const Value r = b(ops::kConstant, {}, {ToTensor(type, weights)});
      const Value part = b(ops::kSum, {b(ops::kMultiply, {d, r})});
      second = second.valid() ? b(ops::kAdd, {second, part}) : part;
    }
    loss = second;
    const Value again[] = {loss};
    gradients = Gradients(g, again, {}, wrt);
  }
  g.AddOutput("loss", loss);
  for (size_t i = 0; i < gradients.size(); ++i) g.AddOutput(StrCat("d", i), gradients[i]);
  std::vector<Tensor> tensors = ToTensors(node, inputs);
  const auto results = Evaluate(g, tensors);
  const auto loss_at = [&](const std::vector<Tensor>& at) {
    return *Evaluate(g, at)[0].data<double>();
  };
  for (size_t k = 0; k < wrt.size(); ++k) {
    const std::vector<double> got = ToValues(results[k + 1]);
    const std::vector<double>& x = inputs[index[k]];
    // A few elements of each input are enough, and every element of small ones.
    const size_t stride = std::max<size_t>(1, x.size() / 12);
    for (size_t e = 0; e < x.size(); e += stride) {
      const double h = 1e-5;
      double sides[2];
      for (int side : {0, 1}) {
        std::vector<double> moved = x;
        moved[e] += side == 0 ? -h : h;
        std::vector<Tensor> at = tensors;
        at[index[k]] = ToTensor(node.inputs[index[k]], moved);
        sides[side] = loss_at(at);
      }
      const double want = (sides[1] - sides[0]) / (2 * h);
      ASSERT_NEAR(got[e], want, tolerance * std::max(1.0, std::abs(want)))
          << node.op->name << " order " << order << ", input " << index[k] << " element " << e;
    }
  }
}

}  // namespace ostria::cpu
