// SPDX-License-Identifier: Apache-2.0
// Golden texts of dce, cse, inline_calls and the whole pipeline.
#include <chrono>

#include "autodiff/gradient.h"
#include "golden.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "passes/pipeline.h"

namespace ostria {
namespace {

TEST(EliminateDeadCode, KeepsWhatOutputsAndStateNeed) {
  EXPECT_EQ(After(EliminateDeadCode, R"(input %x "x": float32[2]
state %w "w": float32[2]
%a: float32[2] = exp@1(%x)
%b: float32[2] = exp@1(%a)
%c: float32[2] = log@1(%x)
%d: float32[2] = tanh@1(%w)
output "a" %a
update %w = %d
)"),
            R"(input %0 "x": float32[2]
state %1 "w": float32[2]
%2: float32[2] = exp@1(%0)
%3: float32[2] = tanh@1(%1)
output "a" %2
update %1 = %3
)");
}

constexpr InputDef kX[] = {{"x"}};
void InferSame(InferContext& c) { c.Out(c.input(0)); }
const OpDef kEffect = {.name = "effect",
                       .inputs = kX,
                       .outputs = kOneOutput,
                       .traits = {.pure = false, .ordered = true},
                       .infer = InferSame};

TEST(Passes, LeaveEffectsAlone) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {}}, 0);
  b(kEffect, {x});
  b(kEffect, {x});
  g.AddOutput("x", x);
  Optimise(g);
  EXPECT_EQ(g.num_nodes(), 2);
}

TEST(MergeCommonSubexpressions, NeedsEqualOpAttributesAndOperands) {
  EXPECT_EQ(After(MergeCommonSubexpressions, R"(input %x "x": float32[2, 2]
input %y "y": float32[2, 2]
%1: float32[2, 2] = add@1(%x, %y)
%2: float32[2, 2] = add@1(%y, %x)
%3: float32[2, 2] = subtract@1(%x, %y)
%4: float32[2, 2] = subtract@1(%y, %x)
%5: float32[2] = sum@1(%1) {axis = [0]}
%6: float32[2] = sum@1(%2) {axis = [0]}
%7: float32[2] = sum@1(%2) {axis = [1]}
%8: float32[] = constant@1() {value = tensor<float32[]>{1}}
%9: float32[] = constant@1() {value = tensor<float32[]>{1}}
%10: float32[] = constant@1() {value = tensor<float32[]>{2}}
output "3" %3
output "4" %4
output "5" %5
output "6" %6
output "7" %7
output "8" %8
output "9" %9
output "10" %10
)"),
            R"(input %0 "x": float32[2, 2]
input %1 "y": float32[2, 2]
%2: float32[2, 2] = add@1(%0, %1)
%3: float32[2, 2] = subtract@1(%0, %1)
%4: float32[2, 2] = subtract@1(%1, %0)
%5: float32[2] = sum@1(%2) {axis = ints[0], keepdims = false}
%6: float32[2] = sum@1(%2) {axis = ints[1], keepdims = false}
%7: float32[] = constant@1() {value = tensor<float32[]>{1}}
%8: float32[] = constant@1() {value = tensor<float32[]>{2}}
output "3" %3
output "4" %4
output "5" %5
output "6" %5
output "7" %6
output "8" %7
output "9" %7
output "10" %8
)");
}

TEST(InlineCalls, GoesThroughNestedBodies) {
  EXPECT_EQ(After(InlineCalls, R"(input %x "x": float32[2]
%1: float32[2], %2: float32[2] = call@1(%x) {body = {
  input %x "x": float32[2]
  %1: float32[2] = exp@1(%x)
  %2: float32[2] = call@1(%1) {body = {
    input %x "x": float32[2]
    %1: float32[2] = log@1(%x)
    output "y" %1
  }}
  output "y" %2
  output "x" %x
}}
output "1" %1
output "2" %2
)"),
            R"(input %0 "x": float32[2]
%1: float32[2] = exp@1(%0)
%2: float32[2] = log@1(%1)
output "1" %2
output "2" %0
)");
}

// The gradient of mean((x*w + b)**2): nothing is left of calls, ones, broadcasts and double work.
TEST(Optimise, LeavesOnlyTheWork) {
  Graph g = Parse(R"(ostria-graph 1
input %x "x": float32[4, 3]
state %w "w": float32[3]
state %b "b": float32[]
%1: float32[4, 3] = multiply@1(%x, %w)
%2: float32[4, 3] = add@1(%1, %b)
%3: float32[4, 3] = square@1(%2)
%4: float32[] = mean@1(%3)
output "loss" %4
)");
  const Value wrt[] = {g.state()[0].in, g.state()[1].in};
  const std::vector<Value> d = Gradients(g, {{g.outputs()[0]}}, {}, wrt);
  g.AddOutput("dw", d[0]);
  g.AddOutput("db", d[1]);
  SetVerifyEnabled(true);
  PassContext context;
  context.evaluate = [](const OpDef& op, std::span<const Attr>, std::span<const Tensor> in) {
    const bool divide = &op == &ops::kDivide;
    if (!divide && &op != &ops::kMultiply) Fail(ErrorCode::kNotImplemented, "no kernel");
    const float x = *in[0].data<float>(), y = *in[1].data<float>();
    return std::vector<Tensor>{Tensor::Scalar(DType::kFloat32, divide ? x / y : x * y)};
  };
  Optimise(g, context);
  SetVerifyEnabled(false);
  EXPECT_EQ(Print(g), R"(ostria-graph 1
input %0 "x": float32[4, 3]
state %1 "w": float32[3]
state %2 "b": float32[]
%3: float32[], %4: float32[1, 1], %5: float32[4, 3] = fused@1(%0, %1, %2) {body = {
  input %0 "x0": float32[4, 3]
  input %1 "x1": float32[3]
  input %2 "x2": float32[]
  %3: float32[4, 3] = multiply@1(%0, %1)
  %4: float32[4, 3] = add@1(%3, %2)
  %5: float32[4, 3] = square@1(%4)
  %6: float32[] = mean@1(%5) {axis = ints[], keepdims = false}
  %7: float32[] = full@1() {shape = shape[], dtype = float32, value = 0.1666666716337204}
  %8: float32[4, 3] = multiply@1(%7, %4)
  %9: float32[1, 1] = sum@1(%8) {axis = ints[0, 1], keepdims = true}
  %10: float32[4, 3] = multiply@1(%8, %0)
  output "y0" %6
  output "y1" %9
  output "y2" %10
}}
%6: float32[1, 3] = sum@1(%5) {axis = ints[0], keepdims = true}
%7: float32[3] = reshape@1(%6) {shape = shape[3]}
%8: float32[] = reshape@1(%4) {shape = shape[]}
output "loss" %3
output "dw" %7
output "db" %8
)");
}

TEST(Optimise, GoesIntoBodiesAndSharesThem) {
  // Bodies that stay bodies (here of an op that is not `call`) are optimised once.
  static constexpr AttrDef kBodyAttr[] = {{"body", AttrType::kBody}};
  static const OpDef kLoop = {
      .name = "loop", .inputs = kX, .attrs = kBodyAttr, .outputs = kOneOutput, .infer = InferSame};
  auto body = std::make_shared<Graph>();
  Builder in(*body, 0);
  const Value u = body->AddInput("u", {DType::kFloat32, {2}}, 0);
  body->AddOutput("v", in(ops::kNegative, {in(ops::kNegative, {u})}));
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {2}}, 0);
  const Value y = b(kLoop, {x}, {Body(body)});
  g.AddOutput("z", b(kLoop, {y}, {Body(body)}));
  Optimise(g);
  const Body& first = g.attr<Body>(g.first(), 0);
  EXPECT_EQ(first->num_nodes(), 0);
  EXPECT_EQ(first, g.attr<Body>(g.last(), 0));
  EXPECT_EQ(body->num_nodes(), 2);  // the caller's body is not touched
}

TEST(Optimise, CostPerNode) {
  Graph g;
  Builder b(g, 0);
  Value v = g.AddInput("x", {DType::kFloat32, {8, 8}}, 0);
  for (int i = 0; i < 20'000; ++i) v = b(i % 2 == 0 ? ops::kTanh : ops::kExp, {v});
  g.AddOutput("y", v);
  const auto t = std::chrono::steady_clock::now();
  Optimise(g);
  std::printf(
      "us per node: %.2f\n",
      std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - t).count() /
          20'000);
  EXPECT_LT(g.num_nodes(), 200);  // long chains are cut
}

}  // namespace
}  // namespace ostria
