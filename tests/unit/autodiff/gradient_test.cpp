// SPDX-License-Identifier: Apache-2.0
#include "autodiff/gradient.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <functional>

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using namespace ops;

const ValueType kScalar{DType::kFloat64, {}};
LocationId At(int line) {
  const SourceLine l{"/home/me/train.py", line, "f"};
  return InternLines({&l, 1});
}

// Runs a graph of rank-0 float64 values, enough to hold derivatives against differences.
std::vector<double> Eval(const Graph& g, const std::vector<double>& inputs) {
  std::vector<double> v(static_cast<size_t>(g.value_capacity()));
  for (size_t i = 0; i < inputs.size(); ++i) v[g.inputs()[i].id] = inputs[i];
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    const auto in = [&](int i) { return v[g.operand(n, i).id]; };
    double& y = v[g.result(n).id];
    if (g.is(n, kFull))
      y = g.attr<double>(n, 2);
    else if (g.is(n, kAdd))
      y = in(0) + in(1);
    else if (g.is(n, kSubtract))
      y = in(0) - in(1);
    else if (g.is(n, kMultiply))
      y = in(0) * in(1);
    else if (g.is(n, kDivide))
      y = in(0) / in(1);
    else if (g.is(n, kNegative))
      y = -in(0);
    else if (g.is(n, kSquare))
      y = in(0) * in(0);
    else if (g.is(n, kExp))
      y = std::exp(in(0));
    else if (g.is(n, kTanh))
      y = std::tanh(in(0));
    else if (g.is(n, kTanhGrad))
      y = in(0) * (1 - in(1) * in(1));
    else if (g.is(n, kStopGradient))
      y = in(0);
    else if (g.is(n, kCall)) {
      std::vector<double> arguments;
      for (int i = 0; i < g.num_operands(n); ++i) arguments.push_back(in(i));
      const std::vector<double> out = Eval(*g.attr<Body>(n, 0), arguments);
      for (size_t i = 0; i < out.size(); ++i) v[g.result(n, static_cast<int>(i)).id] = out[i];
    } else {
      ADD_FAILURE() << "the test cannot run " << g.op(n).name;
    }
  }
  std::vector<double> out;
  for (const Value o : g.outputs()) out.push_back(v[o.id]);
  return out;
}

// tanh(x*y) + exp(x)*y - x/y, with x*y used twice
Value Formula(Builder& b, Value x, Value y) {
  const Value xy = b(kMultiply, {x, y});
  const Value a = b(kAdd, {b(kTanh, {xy}), b(kMultiply, {b(kExp, {x}), y})});
  return b(kAdd, {b(kSubtract, {a, b(kDivide, {x, y})}), b(kMultiply, {xy, xy})});
}

TEST(Gradients, MatchDifferencesTwice) {
  Graph g;
  Builder b(g, At(1));
  const Value x = g.AddInput("x", kScalar, 0), y = g.AddInput("y", kScalar, 0);
  const Value f = Formula(b, x, y);
  const std::vector<Value> first = Gradients(g, {{f}}, {}, std::vector<Value>{x, y});
  const std::vector<Value> xx_xy = Gradients(g, {{first[0]}}, {}, std::vector<Value>{x, y});
  for (const Value v : {f, first[0], first[1], xx_xy[0], xx_xy[1]}) g.AddOutput("v", v);
  Verify(g, "gradients");
  const double h = 1e-5, at_x = 0.7, at_y = 1.3;
  const auto value = Eval(g, {at_x, at_y});
  const auto px = Eval(g, {at_x + h, at_y}), mx = Eval(g, {at_x - h, at_y});
  const auto py = Eval(g, {at_x, at_y + h}), my = Eval(g, {at_x, at_y - h});
  EXPECT_NEAR(value[1], (px[0] - mx[0]) / (2 * h), 1e-8);
  EXPECT_NEAR(value[2], (py[0] - my[0]) / (2 * h), 1e-8);
  EXPECT_NEAR(value[3], (px[1] - mx[1]) / (2 * h), 1e-8);
  EXPECT_NEAR(value[4], (py[1] - my[1]) / (2 * h), 1e-8);
  EXPECT_NEAR(value[4], (px[2] - mx[2]) / (2 * h), 1e-8);  // symmetric
}

TEST(Gradients, ReadLikeTheChainRule) {
  Graph g = Parse(R"(ostria-graph 1
input %x "x": float32[batch, 3]
state %w "w": float32[3]
%m: float32[batch, 3] = multiply@1(%x, %w)
%t: float32[batch, 3] = tanh@1(%m)
%s: float32[] = sum@1(%t)
output "loss" %s
)");
  std::vector<bool> connected;
  const auto d =
      Gradients(g, {{g.outputs()[0]}}, {}, std::vector<Value>{g.state()[0].in}, &connected);
  g.AddOutput("dw", d[0]);
  Verify(g, "gradients");
  EXPECT_TRUE(connected[0]);
  EXPECT_EQ(Print(g), R"(ostria-graph 1
input %0 "x": float32[batch, 3]
state %1 "w": float32[3]
%2: float32[batch, 3] = multiply@1(%0, %1)
%3: float32[batch, 3] = tanh@1(%2)
%4: float32[] = sum@1(%3) {axis = ints[], keepdims = false}
%5: float32[] = full@1() {shape = shape[], dtype = float32, value = 1}
%6: float32[1, 1] = reshape@1(%5) {shape = shape[1, 1]}
%7: float32[batch, 3] = broadcast_to@1(%6) {shape = shape[batch, 3]}
%8: float32[batch, 3] = tanh_grad@1(%7, %3)
%9: float32[batch, 3] = multiply@1(%8, %0)
%10: float32[1, 3] = sum@1(%9) {axis = ints[0], keepdims = true}
%11: float32[3] = reshape@1(%10) {shape = shape[3]}
output "loss" %4
output "dw" %11
)");
}

TEST(Gradients, UnusedAreZerosOfTheirType) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", kScalar, 0);
  const Value u = g.AddInput("u", {DType::kFloat32, {Dim::Symbol("batch"), 2}}, 0);
  const Value f = b(kTanh, {x});
  std::vector<bool> connected;
  const auto d = Gradients(g, {{f}}, {}, std::vector<Value>{u, x}, &connected);
  EXPECT_EQ(connected, (std::vector<bool>{false, true}));
  EXPECT_TRUE(g.is(g.producer(d[0]), kFull));
  EXPECT_EQ(g.type(d[0]), g.type(u));
}

TEST(Gradients, VisitOnlyThePathAndTakeTheCotangent) {
  Graph g;
  Builder b(g, At(1));
  const Value x = g.AddInput("x", kScalar, 0), scale = g.AddInput("scale", kScalar, 0);
  const Value f = b(kTanh, {x});
  const Value side = b(kMultiply, {b(kExp, {x}), x});  // does not lead to f
  const Value after = b(kSquare, {f});
  const int before = g.num_nodes();
  const auto d = Gradients(g, {{f}}, {{scale}}, std::vector<Value>{x, f, side});
  EXPECT_EQ(g.num_nodes(), before + 2);  // tanh_grad, and zeros for `side`
  EXPECT_EQ(d[1], scale);
  EXPECT_EQ(g.operand(g.producer(d[0]), 0), scale);
  EXPECT_EQ(g.num_uses(after), 0);
  EXPECT_EQ(LongLocation(g.location(g.producer(d[0]))),
            "  gradient of tanh of\n  /home/me/train.py:1 in f\n");
}

TEST(Gradients, StopAtStopGradient) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", kScalar, 0);
  const Value stopped = b(kStopGradient, {b(kExp, {x})});
  const Value f = b(kMultiply, {b(kTanh, {stopped}), x});
  g.AddOutput("d", Gradients(g, {{f}}, {}, {{x}})[0]);
  EXPECT_NEAR(Eval(g, {0.5})[0], std::tanh(std::exp(0.5)), 1e-12);
}

std::string MessageOf(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    return e.what();
  }
  return "fine";
}

void InferSame(InferContext& c) { c.Out(c.input(0)); }
constexpr InputDef kX[] = {{"x"}};
const OpDef kOpaque = {.name = "opaque",
                       .inputs = kX,
                       .outputs = kOneOutput,
                       .infer = InferSame,
                       .grad = NoGrad("nobody worked it out")};
// x * x + x, by decomposition only; the operand appears twice in the gradient
const OpDef kComposed = {
    .name = "composed",
    .inputs = kX,
    .outputs = kOneOutput,
    .infer = InferSame,
    .grad = NoGrad("decomposed"),
    .decompose = [](Builder& b, std::span<const Value> in, std::span<const Attr>) {
      return std::vector<Value>{b(kAdd, {b(kMultiply, {in[0], in[0]}), in[0]})};
    }};

TEST(Gradients, ErrorsNameOpReasonAndLine) {
  Graph g;
  Builder b(g, At(42));
  const Value x = g.AddInput("x", kScalar, 0);
  const Value n = g.AddInput("n", {DType::kInt32, {3}}, At(7));
  const Value f = b(kTanh, {b(kOpaque, {x})});
  EXPECT_EQ(
      MessageOf([&] { Gradients(g, {{f}}, {}, {{x}}); }),
      "opaque: has no gradient: nobody worked it out; wrap its input in stop_gradient to treat it "
      "as a constant [train.py:42]");
  EXPECT_EQ(MessageOf([&] { Gradients(g, {{f}}, {}, {{n}}); }),
            "gradient: a value to differentiate with respect to is int32[3], but only floats have "
            "gradients; cast it, or leave it out [train.py:7]");
  EXPECT_EQ(MessageOf([&] { Gradients(g, {{x}}, {{n}}, {{x}}); }),
            "gradient: a cotangent is int32[3], but its output is float64[]; they must be equal");
  const Value stopped = b(kTanh, {b(kOpaque, {b(kStopGradient, {x})})});
  EXPECT_EQ(MessageOf([&] { Gradients(g, {{stopped}}, {}, {{x}}); }), "fine");
}

TEST(Gradients, GoThroughDecompositions) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", kScalar, 0);
  const Value f = b(kTanh, {b(kComposed, {b(kSquare, {x})})});
  g.AddOutput("d", Gradients(g, {{f}}, {}, {{x}})[0]);
  Verify(g, "gradients");
  // Only what the derivative needs is run: the op itself is not in the test's interpreter.
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) {
    if (!g.is(n, kComposed)) continue;
    Builder before(g, 0, n);
    const Value y = g.result(n);
    g.ReplaceAllUses(y, kComposed.decompose(before, g.operands(n), {})[0]);
    g.Erase(n);
    break;
  }
  const double x0 = 0.6, u = x0 * x0, t = std::tanh(u * u + u);
  EXPECT_NEAR(Eval(g, {x0})[0], (1 - t * t) * (2 * u + 1) * 2 * x0, 1e-12);
}

Body TanhTimesY() {
  auto body = std::make_shared<Graph>();
  Builder b(*body, 0);
  const Value x = body->AddInput("x", kScalar, 0), y = body->AddInput("y", kScalar, 0);
  body->AddInput("n", {DType::kInt64, {}}, 0);
  const Value t = b(kTanh, {x});
  body->AddOutput("z", b(kMultiply, {t, y}));
  body->AddOutput("e", b(kExp, {y}));
  return body;
}

TEST(DifferentiateBody, HasACotangentPerOutputAndAGradientPerInput) {
  const Body vjp = DifferentiateBody(*TanhTimesY());
  Verify(*vjp, "differentiate body");
  EXPECT_EQ(Print(*vjp), R"(ostria-graph 1
input %0 "x": float64[]
input %1 "y": float64[]
input %2 "n": int64[]
input %3 "d_z": float64[]
input %4 "d_e": float64[]
%5: float64[] = tanh@1(%0)
%6: float64[] = exp@1(%1)
%7: float64[] = multiply@1(%4, %6)
%8: float64[] = multiply@1(%3, %1)
%9: float64[] = multiply@1(%3, %5)
%10: float64[] = add@1(%7, %9)
%11: float64[] = tanh_grad@1(%8, %5)
%12: int64[] = full@1() {shape = shape[], dtype = int64, value = 0}
output "d_x" %11
output "d_y" %10
output "d_n" %12
)");
}

TEST(Call, IsDifferentiatedThroughItsBodyTwice) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", kScalar, 0), y = g.AddInput("y", kScalar, 0);
  auto body = std::make_shared<Graph>();
  Builder in(*body, 0);
  const Value u = body->AddInput("u", kScalar, 0), v = body->AddInput("v", kScalar, 0);
  body->AddOutput("f", Formula(in, u, v));
  const Value f = b(kCall, {x, y}, {Body(body)});
  const Value dx = Gradients(g, {{f}}, {}, {{x}})[0];
  const Value dxy = Gradients(g, {{dx}}, {}, {{y}})[0];
  g.AddOutput("dx", dx);
  g.AddOutput("dxy", dxy);
  Verify(g, "gradients");
  Graph flat;
  Builder fb(flat, 0);
  const Value fx = flat.AddInput("x", kScalar, 0), fy = flat.AddInput("y", kScalar, 0);
  const Value fdx = Gradients(flat, {{Formula(fb, fx, fy)}}, {}, {{fx}})[0];
  const Value fdxy = Gradients(flat, {{fdx}}, {}, {{fy}})[0];
  flat.AddOutput("dx", fdx);
  flat.AddOutput("dxy", fdxy);
  const auto nested = Eval(g, {0.7, 1.3}), plain = Eval(flat, {0.7, 1.3});
  EXPECT_NEAR(nested[0], plain[0], 1e-12);
  EXPECT_NEAR(nested[1], plain[1], 1e-12);
}

TEST(Call, UsesItsOwnGradientWhenGiven) {
  auto body = std::make_shared<Graph>(), vjp = std::make_shared<Graph>();
  {
    Builder b(*body, 0);
    body->AddOutput("y", b(kTanh, {body->AddInput("x", kScalar, 0)}));
  }
  {
    Builder b(*vjp, 0);
    vjp->AddInput("x", kScalar, 0);
    const Value d = vjp->AddInput("d", kScalar, 0);
    vjp->AddOutput("dx", Times(b, d, 100.0));
  }
  Graph g;
  Builder b(g, At(3));
  const Value x = g.AddInput("x", kScalar, 0);
  const Value f = b(kCall, {x}, {Body(body), Body(vjp)});
  g.AddOutput("d", Gradients(g, {{f}}, {}, {{x}})[0]);
  EXPECT_EQ(Eval(g, {0.5})[0], 100.0);
  EXPECT_EQ(
      MessageOf([&] {
        b(kCall, {x}, {Body(body), Body(body)});
      }),
      "call: the gradient of a function of 1 input(s) and 1 output(s) takes 2 values (the inputs, "
      "then a cotangent per output) and returns 1 (a cotangent per input), but this one takes 1 "
      "and returns 1 [train.py:3]");
}

TEST(Gradients, CostIsLinear) {
  const auto micros_per_node = [](int nodes) {
    double best = 1e9;  // of several: other processes only ever add
    for (int run = 0; run < 5; ++run) {
      Graph g;
      Builder b(g, At(1));
      const Value x = g.AddInput("x", kScalar, 0);
      Value v = x;
      for (int i = 0; i < nodes; ++i) v = b(i % 8 == 0 ? kComposed : kTanh, {v});
      const auto t = std::chrono::steady_clock::now();
      Gradients(g, {{v}}, {}, {{x}});
      const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - t;
      best = std::min(best, took.count() / nodes);
    }
    return best;
  };
  const double small = micros_per_node(1'000), large = micros_per_node(32'000);
  std::printf("us per forward node: %.2f at 1,000 nodes, %.2f at 32,000\n", small, large);
  EXPECT_LT(large, 16 * small);  // quadratic cost would be 32 times
}

}  // namespace
}  // namespace ostria
