// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cublaslt/tail.h"

#include <algorithm>
#include <array>

#include "backend/cuda/codegen/loop_launch.h"
#include "backend/cuda/launch/launches.h"
#include "backend/loop_node.h"
#include "base/check.h"
#include "ir/builder.h"
#include "kernels/linalg/bias_activation.h"
#include "kernels/linalg/relu_mask.h"
#include "loop/build.h"
#include "ops/common/attr_index.h"
#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::BiasActivationParams;
using kernels::ReluMaskParams;
using ops::EpilogueOperand;
using ops::EpilogueResult;

constexpr size_t kMostLoopOperands = 4;  // two inputs, two outputs; the workspace comes behind them

// Where a node's operands stand among the pointers of its launch.
struct Places {
  explicit Places(const NodeDesc& node)
      : y(static_cast<int>(node.inputs.size())),
        workspace(y + static_cast<int>(node.outputs.size())) {}
  int a = 0, b = 1, third = 2, y, workspace;
  int second() const { return y + 1; }
};

Shape Matrix(const MemDesc& m) {
  const int64_t cols = m.sizes[m.rank - 1];
  return Shape::FromSizes(std::vector<int64_t>{m.numel() / cols, cols});
}

std::shared_ptr<const Launches> BiasActivation(const NodeDesc& node, const LtProduct& product) {
  const MemDesc& y = node.outputs[0];
  const Places at(node);
  std::string function = StrCat("bias_activation_", Name(y.dtype));
  if (product.has_bias && product.bias != y.dtype) function += StrCat("_", Name(product.bias));
  LaunchShape shape;
  shape.grid[0] = GridFor(y.numel(), 64 / SizeOf(y.dtype), shape.block, *node.device);
  BiasActivationParams p;
  p.cols = y.sizes[y.rank - 1];
  p.rows = y.numel() / p.cols;
  p.activation = static_cast<int32_t>(ops::DefOf(product.epilogue).activation);
  auto launches = std::make_shared<Launches>();
  auto added = launches->Add("linalg/bias_activation", function, shape, p);
  added.Point(&BiasActivationParams::y, {at.y});
  if (product.has_bias) added.Point(&BiasActivationParams::bias, {at.third});
  return launches;
}

std::shared_ptr<const Launches> ReluMask(const NodeDesc& node, bool apply) {
  const MemDesc& y = node.outputs[0];
  const Places at(node);
  ReluMaskParams p;
  p.cols = y.sizes[y.rank - 1];
  p.rows = y.numel() / p.cols;
  p.row_bytes = ops::MaskBytes(p.cols);
  LaunchShape shape;
  shape.grid[0] = GridFor(p.rows * p.row_bytes, 4, shape.block, *node.device);
  auto launches = std::make_shared<Launches>();
  launches
      ->Add("linalg/relu_mask", StrCat(apply ? "apply_" : "", "relu_mask_", Name(y.dtype)), shape,
            p)
      .Point(&ReluMaskParams::y, {at.y})
      .Point(&ReluMaskParams::mask, {apply ? at.third : at.second()});
  return launches;
}

// What a loop computes and between which operands of the node.
struct LoopPlan {
  Graph body;
  std::vector<MemDesc> inputs, outputs;
  std::vector<int> operands;

  Value In(const MemDesc& m, int operand) {
    const Shape shape = Matrix(m);
    inputs.push_back(MemDesc::Dense(m.dtype, shape));
    operands.push_back(operand);
    return body.AddInput(StrCat("x", inputs.size()), {m.dtype, shape}, 0);
  }
  // After all inputs.
  void Out(Value v, int operand) {
    outputs.push_back(MemDesc::Dense(body.dtype(v), body.shape(v)));
    operands.push_back(operand);
    body.AddOutput(StrCat("y", outputs.size()), v);
  }
};

void Sum(LoopPlan& plan, Value v, int axis, DType dtype, int operand) {
  Builder b(plan.body, 0);
  v = ops::Cast(b, v, dtype);
  plan.Out(b(ops::kSum, {v}, {std::vector<int64_t>{axis}, true}), operand);
}

std::optional<LoopPlan> LoopOf(const NodeDesc& node, const LtProduct& product) {
  const ops::EpilogueDef& e = ops::DefOf(product.epilogue);
  const Places at(node);
  const MemDesc& y = node.outputs[0];
  LoopPlan plan;
  Builder b(plan.body, 0);
  switch (e.second) {
    case EpilogueResult::kPreactivation: {
      const Value z = plan.In(y, at.second());
      plan.Out(b(ops::kGelu, {z}, {true}), at.y);
      return plan;
    }
    case EpilogueResult::kSumOfA:
      Sum(plan, plan.In(node.inputs[0], at.a),
          node.attr<bool>(ops::MatmulAttr::kTransposeA) ? 0 : 1, y.dtype, at.second());
      return plan;
    case EpilogueResult::kSumOfB:
      Sum(plan, plan.In(node.inputs[1], at.b),
          node.attr<bool>(ops::MatmulAttr::kTransposeB) ? 1 : 0, y.dtype, at.second());
      return plan;
    default: break;
  }
  const bool sums = e.second == EpilogueResult::kSumOfRows;
  if (e.third == EpilogueOperand::kPreactivation) {
    const Value g = plan.In(y, at.y), x = plan.In(node.inputs[2], at.third);
    const Value product_and_slope = b(ops::kGeluGrad, {g, x}, {true});
    plan.Out(product_and_slope, at.y);
    if (sums) Sum(plan, product_and_slope, 0, y.dtype, at.second());
    return plan;
  }
  if (!sums) return std::nullopt;
  Sum(plan, plan.In(y, at.y), 0, y.dtype, at.second());
  return plan;
}

}  // namespace

std::vector<std::string> Tail::LaunchNames() const {
  std::vector<std::string> names;
  for (const KernelState* part : {kernels.get(), loop.get()}) {
    if (part == nullptr) continue;
    for (std::string& name : part->LaunchNames()) names.push_back(std::move(name));
  }
  return names;
}

Tail PlanTail(const NodeDesc& node, const LtProduct& product) {
  const ops::EpilogueDef& e = ops::DefOf(product.epilogue);
  Tail tail;
  if (e.is_simple()) {
    tail.kernels = BiasActivation(node, product);
  } else if (e.second == EpilogueResult::kMask || e.third == EpilogueOperand::kMask) {
    tail.kernels = ReluMask(node, e.third == EpilogueOperand::kMask);
  }
  if (tail.kernels != nullptr) tail.key = tail.kernels->LaunchNames()[0];
  if (e.is_simple()) tail.key += StrCat(" ", static_cast<int>(e.activation));
  if (std::optional<LoopPlan> plan = e.is_simple() ? std::nullopt : LoopOf(node, product)) {
    std::string why;
    const auto program = BuildLoop(plan->body, &why);
    auto made = program ? GenerateLoop(*program, *node.device, &why) : std::nullopt;
    const std::string names = OpNames(plan->body);
    OSTRIA_CHECK(made.has_value(), names, ": ", why);
    const NodeDesc like{node.op, node.attrs, plan->inputs, plan->outputs, node.device};
    tail.loop = PlanLoop(like, names, std::make_shared<const GeneratedLoop>(std::move(*made)));
    tail.loop_operands = std::move(plan->operands);
    OSTRIA_CHECK(tail.loop_operands.size() <= kMostLoopOperands, names);
    tail.loop_operands.push_back(Places(node).workspace);
    tail.workspace_bytes = tail.loop->workspace_bytes;
    tail.key += StrCat(tail.key.empty() ? "" : " ", names);
  }
  return tail;
}

BoundTail BindTail(const Tail& tail, const BindContext& to) {
  BoundTail bound;
  if (tail.kernels != nullptr) bound.kernels = BindMany(tail.kernels, to);
  if (tail.loop != nullptr) bound.loop = BindLoop(tail.loop, to);
  return bound;
}

void RunTail(const Tail& tail, const BoundTail& bound, void* const* ptrs) {
  if (bound.kernels != nullptr) RunMany(*bound.kernels, ptrs);
  if (bound.loop == nullptr) return;
  std::array<void*, kMostLoopOperands + 1> operands = {};
  for (size_t i = 0; i < tail.loop_operands.size(); ++i) {
    operands[i] = ptrs[tail.loop_operands[i]];
  }
  RunLoop(*bound.loop, operands.data());
}

}  // namespace ostria::cuda
