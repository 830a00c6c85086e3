// SPDX-License-Identifier: Apache-2.0
// product_epilogues: what a library of a GPU does besides (ops/common/epilogue.h). A product ends
// in the gradient of relu or gelu, for which the one before keeps a mask or a preactivation, and
// gives the gradient of a bias: the sum of its rows, or of one of its operands. As much as the
// device takes; loops make the rest.
#include <string>
#include <vector>

#include "ops/common/attr_index.h"
#include "ops/common/epilogue.h"
#include "ops/ops.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace ostria {
namespace {

using ops::Activation;
using ops::Epilogue;
using ops::MatmulAttr;

class Joiner {
 public:
  Joiner(Graph& g, const PassContext& context) : g_(g), context_(context) {
    positions_.resize(static_cast<size_t>(g.node_capacity()));
    int at = 0;
    for (NodeId n = g.first(); n.valid(); n = g.next(n)) positions_[n.id] = ++at;
  }

  // z = matmul_fused(., ., bias) {"none"} -> gelu(z)  =>  y, z = … {"gelu_tanh_kept"}
  // where others read z too; else {"gelu_tanh"}, which views had kept apart.
  bool Keep(NodeId n) {
    if (!g_.is(n, ops::kGelu) || !IsUsed(g_, g_.result(n))) return false;
    if (ops::ActivationOf(g_.op(n), g_.attrs(n)) != Activation::kGeluTanh) return false;
    bool others = false;
    const Value z = Source(g_.operand(n, 0), &others);
    const NodeId product = ProducedBy(g_, z, ops::kMatmulFused);
    if (!product.valid() || EpilogueOf(product) != Epilogue::kNone || Widens(product)) return false;
    const Epilogue epilogue = others ? Epilogue::kGeluTanhKept : Epilogue::kGeluTanh;
    const NodeId made = Like(product, epilogue, g_.operands(product), product);
    if (!made.valid()) return false;
    if (others) g_.ReplaceAllUses(z, g_.result(made, 1));
    g_.ReplaceAllUses(g_.result(n), Reshaped(g_.result(made), g_.shape(g_.result(n)), n));
    return true;
  }

  // y = matmul_fused {"relu"};  matmul -> relu_grad(., y)
  //   =>  y, mask = matmul_fused {"relu_mask"};  matmul_fused(., ., mask) {"relu_grad"}
  // matmul -> gelu_grad(., x)  =>  matmul_fused(., ., x) {"gelu_tanh_grad"}
  bool Gradient(NodeId n) {
    const Activation of = ops::ActivationGradOf(g_.op(n), g_.attrs(n));
    if (of == Activation::kNone || !IsUsed(g_, g_.result(n))) return false;
    if (!(g_.shape(g_.operand(n, 0)) == g_.shape(g_.operand(n, 1)))) return false;  // broadcast
    bool others = false;
    const Value product = Source(g_.operand(n, 0), &others);
    const NodeId matmul = ProducedBy(g_, product, ops::kMatmul);
    if (!matmul.valid() || others) return false;
    Value read = g_.operand(n, 1);
    Shape shape = g_.shape(product);
    if (of == Activation::kRelu) {
      shape[shape.rank() - 1] = ops::MaskBytes(shape[shape.rank() - 1].value());
      std::vector<ValueType> types = TypesOf(g_.operands(matmul));
      types.push_back({DType::kUInt8, shape});
      if (!Takes(matmul, Epilogue::kReluGrad, types)) return false;
      read = Mask(read, g_.shape(product));
      if (!read.valid()) return false;
    }
    std::vector<Value> operands = g_.operands(matmul);
    operands.push_back(Reshaped(read, shape, n));
    const NodeId made = Like(matmul, ops::GradientOf(of), operands, n);
    if (!made.valid()) return false;
    g_.ReplaceAllUses(g_.result(n), Reshaped(g_.result(made), g_.shape(g_.result(n)), n));
    return true;
  }

  // g = matmul_fused {"relu_grad"} -> sum over rows  =>  g, sum = matmul_fused {"relu_grad_sum"}
  // sum over rows of g, matmul(x, g) {transpose_a}  =>  ., sum = matmul_fused(x, g) {"sum_b"}
  // The second where no loop makes g: one that does adds its rows by the way.
  bool BiasGradient(NodeId n) {
    if (!g_.is(n, ops::kSum) || !IsUsed(g_, g_.result(n))) return false;
    Value rows = g_.operand(n, 0);
    const int rank = g_.shape(rows).rank();
    if (!IsFloat(g_.dtype(rows)) || rank < 2) return false;
    const std::vector<int> axes = ReducedAxes(g_, n);
    if (static_cast<int>(axes.size()) != rank - 1 || axes.back() != rank - 2) return false;
    const Dim cols = g_.shape(rows)[rank - 1];
    if (const NodeId cast = ProducedBy(g_, rows, ops::kCast); cast.valid()) {
      if (!IsFloat(g_.dtype(g_.operand(cast, 0)))) return false;
      rows = g_.operand(cast, 0);
    }
    rows = Source(rows, nullptr);
    const Shape& shape = g_.shape(rows);
    if (shape.rank() < 2 || !(shape[shape.rank() - 1] == cols)) return false;
    return OfRows(n, rows) || OfOperand(n, rows);
  }

 private:
  // What `v` is a view of. `others`: whether anything else reads the values on the way.
  Value Source(Value v, bool* others) const {
    const auto look = [&] {
      if (others != nullptr) *others |= !OnlyUser(g_, v).valid();
    };
    look();
    for (NodeId n = g_.producer(v); n.valid() && IsView(g_, n); n = g_.producer(v)) {
      v = g_.operand(n, 0);
      look();
    }
    return v;
  }

  Epilogue EpilogueOf(NodeId n) const {
    Epilogue epilogue = Epilogue::kNone;
    if (g_.is(n, ops::kMatmulFused)) {
      ops::ParseEpilogue(g_.attr<std::string>(n, MatmulAttr::kEpilogue), &epilogue);
    }
    return epilogue;
  }
  bool Widens(NodeId n) const {
    return g_.is(n, ops::kMatmulFused) && g_.attr<bool>(n, MatmulAttr::kWiden);
  }

  Value Reshaped(Value v, const Shape& shape, NodeId before) {
    if (g_.shape(v) == shape) return v;
    return Placed(
        g_.AddNode(ops::kReshape, std::vector<Value>{v}, {shape}, g_.location(before), before),
        before);
  }
  Value Placed(NodeId made, NodeId before) {
    if (positions_.size() <= static_cast<size_t>(made.id)) {
      positions_.resize(static_cast<size_t>(made.id) + 1);
    }
    positions_[made.id] = positions_[before.id];
    return g_.result(made);
  }
  // Whether `v` is there before `n` runs. What a node was made in front of has its position.
  bool IsBefore(Value v, NodeId n) const {
    const NodeId by = g_.producer(v);
    return !by.valid() || positions_[by.id] <= positions_[n.id];
  }

  std::vector<ValueType> TypesOf(std::span<const Value> values) const {
    std::vector<ValueType> types;
    for (const Value v : values) types.push_back(g_.type(v));
    return types;
  }
  std::vector<Attr> Attributes(NodeId n, Epilogue epilogue) const {
    return {g_.attr<bool>(n, MatmulAttr::kTransposeA), g_.attr<bool>(n, MatmulAttr::kTransposeB),
            std::string(ops::DefOf(epilogue).name), Widens(n)};
  }
  bool Takes(NodeId n, Epilogue epilogue, std::span<const ValueType> operands) const {
    return !context_.has_kernel ||
           context_.has_kernel(ops::kMatmulFused, Attributes(n, epilogue), operands);
  }
  // The product `n`, matmul or matmul_fused, with another epilogue; nothing where the device does
  // not take it.
  NodeId Like(NodeId n, Epilogue epilogue, const std::vector<Value>& operands, NodeId before) {
    if (!Takes(n, epilogue, TypesOf(operands))) return {};
    const NodeId made =
        g_.AddNode(ops::kMatmulFused, operands, Attributes(n, epilogue), g_.location(n), before);
    Placed(made, before);
    return made;
  }

  // The mask of relu's result `y`, for a product of this shape, where another product gives it.
  Value Mask(Value y, const Shape& of) {
    y = Source(y, nullptr);
    const NodeId product = ProducedBy(g_, y, ops::kMatmulFused);
    if (!product.valid() || g_.result_index(y) != 0) return {};
    const Shape& shape = g_.shape(y);
    if (!(shape[shape.rank() - 1] == of[of.rank() - 1])) return {};
    if (EpilogueOf(product) == Epilogue::kReluMask) return g_.result(product, 1);
    if (EpilogueOf(product) != Epilogue::kRelu || Widens(product)) return {};
    const NodeId made = Like(product, Epilogue::kReluMask, g_.operands(product), product);
    if (!made.valid()) return {};
    g_.ReplaceAllUses(y, g_.result(made));
    return g_.result(made, 1);
  }

  // The sum `n` becomes `v`, rounded first where it comes in 16 bits: never where the graph sums
  // numbers of bfloat16 in float32, which have few digits, but as the loss scale wants of float16.
  bool FitsSum(NodeId n, DType dtype) const {
    return dtype == g_.dtype(g_.result(n)) || dtype == DType::kFloat16;
  }
  void ReplaceSum(NodeId n, Value v, NodeId before) {
    const ValueType& type = g_.type(g_.result(n));
    if (g_.dtype(v) != type.dtype) {
      v = Placed(
          g_.AddNode(ops::kCast, std::vector<Value>{v}, {type.dtype}, g_.location(n), before),
          before);
    }
    g_.ReplaceAllUses(g_.result(n), Reshaped(v, type.shape, before));
  }

  bool OfRows(NodeId n, Value rows) {
    const NodeId product = ProducedBy(g_, rows, ops::kMatmulFused);
    if (!product.valid() || g_.result_index(rows) != 0 || !FitsSum(n, g_.dtype(rows))) return false;
    const Epilogue epilogue = ops::WithSum(EpilogueOf(product));
    if (epilogue == Epilogue::kNone) return false;
    const NodeId made = Like(product, epilogue, g_.operands(product), product);
    if (!made.valid()) return false;
    g_.ReplaceAllUses(rows, g_.result(made));
    ReplaceSum(n, g_.result(made, 1), n);
    return true;
  }

  bool OfOperand(NodeId n, Value rows) {
    if (const NodeId by = g_.producer(rows); by.valid()) {
      const Traits& traits = g_.op(by).traits;
      if (traits.elementwise || traits.loop) return false;
    }
    for (const Use& use : UsesOf(rows)) {
      const NodeId product = use.user;
      const bool is_sum_b = use.operand == 1;
      if (!IsWeightGradient(product, use.operand)) continue;
      const Value read = g_.operand(product, use.operand),
                  other = g_.operand(product, 1 - use.operand);
      if (!(g_.shape(read)[1] == g_.shape(rows)[g_.shape(rows).rank() - 1])) continue;
      if (!FitsSum(n, g_.dtype(g_.result(product)))) continue;
      // In front of both, so that whatever reads the sum comes later.
      const NodeId before = positions_[product.id] < positions_[n.id] ? product : n;
      const Value from = Source(other, nullptr);
      if (!IsBefore(from, before)) continue;
      std::vector<Value> operands = {
          Reshaped(IsBefore(other, before) ? other : from, g_.shape(other), before),
          Reshaped(rows, g_.shape(read), before)};
      if (!is_sum_b) std::swap(operands[0], operands[1]);
      const NodeId made =
          Like(product, is_sum_b ? Epilogue::kSumB : Epilogue::kSumA, operands, before);
      if (!made.valid()) continue;
      g_.ReplaceAllUses(g_.result(product), g_.result(made));
      ReplaceSum(n, g_.result(made, 1), n);
      return true;
    }
    return false;
  }

  // Uses of `v` and of its views.
  std::vector<Use> UsesOf(Value v) const {
    std::vector<Use> out;
    for (const Use& use : g_.uses(v)) {
      if (IsView(g_, use.user)) {
        for (const Use& further : UsesOf(g_.result(use.user))) out.push_back(further);
      } else {
        out.push_back(use);
      }
    }
    return out;
  }

  // A product of two matrices that sums over the rows of its operand, and does nothing more.
  bool IsWeightGradient(NodeId n, int operand) const {
    if (!g_.is(n, ops::kMatmul) && !g_.is(n, ops::kMatmulFused)) return false;
    if (EpilogueOf(n) != Epilogue::kNone || g_.num_operands(n) != 2) return false;
    if (!IsUsed(g_, g_.result(n)) || g_.operand(n, 0) == g_.operand(n, 1)) return false;
    if (g_.shape(g_.operand(n, 0)).rank() != 2 || g_.shape(g_.operand(n, 1)).rank() != 2)
      return false;
    return operand == 0 ? g_.attr<bool>(n, MatmulAttr::kTransposeA)
                        : !g_.attr<bool>(n, MatmulAttr::kTransposeB);
  }

  Graph& g_;
  const PassContext& context_;
  std::vector<int> positions_;
};

}  // namespace

bool ProductEpilogues(Graph& graph, const PassContext& context) {
  Joiner joiner(graph, context);
  bool changed = false;
  for (const auto step : {&Joiner::Gradient, &Joiner::Keep, &Joiner::BiasGradient}) {
    for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
      changed |= (joiner.*step)(n);
    }
  }
  return changed;
}

}  // namespace ostria
