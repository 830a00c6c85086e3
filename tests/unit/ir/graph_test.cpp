// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "test_ops.h"

namespace ostria {
namespace {

using test::F32;

std::string BrokenBecause(const Graph& g) {
  try {
    Verify(g, "test");
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInternal);
    return e.message();
  }
  return "sound";
}

TEST(Graph, RewritingKeepsUseListsSound) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", F32({2}), 0);
  const Value y = g.AddInput("y", F32({2}), 0);
  const Value n = b(test::kNeg, {x});
  const Value s = b(test::kAdd, {n, n});
  g.AddOutput("s", s);
  EXPECT_EQ(g.num_uses(n), 2);
  g.SetOperand(g.producer(s), 1, y);
  EXPECT_EQ(g.num_uses(n), 1);
  g.ReplaceAllUses(n, y);
  EXPECT_EQ(g.num_uses(y), 2);
  g.Erase(g.producer(n));
  EXPECT_THROW(g.Erase(g.producer(s)), Error);
  Builder before(g, 0, g.producer(s));
  before(test::kNeg, {x});
  EXPECT_EQ(BrokenBecause(g), "sound");
  const Graph copy = g.Clone();
  EXPECT_EQ(Print(copy), Print(g));
  EXPECT_EQ(BrokenBecause(copy), "sound");
}

TEST(Verify, NamesWhatIsBroken) {
  const auto broken = [](auto break_it) {
    Graph g;
    Builder b(g, InternLines(std::vector<SourceLine>{{"/home/me/train.py", 42, "main"}}));
    const Value x = g.AddInput("x", F32({2}), 0);
    const Value n = b(test::kNeg, {x});
    const Value t = b(test::kTake, {n}, {int64_t{2}});
    g.AddOutput("t", t);
    break_it(g, x, n, t);
    return BrokenBecause(g);
  };
  const std::string head = "internal error, please report: the graph is broken after test: ";
  EXPECT_EQ(
      broken([](Graph& g, Value, Value n, Value t) { g.MoveBefore(g.producer(t), g.producer(n)); }),
      head +
          "node 1 (take, from train.py:42): operand 0 (value 1, neg) is used before it is "
          "defined");
  EXPECT_EQ(broken([](Graph& g, Value, Value n, Value) {
              const ValueType wrong[] = {F32({3})};
              g.AddTypedNode(test::kNeg, {&n, 1}, {}, wrong, 0);
            }),
            head + "node 2 (neg): result 0 is float32[3], infer gives float32[2]");
  EXPECT_EQ(broken([](Graph& g, Value, Value, Value t) { g.SetAttr(g.producer(t), 0, 0.5); }),
            head + "node 1 (take, from train.py:42): attribute 'times' is of type float");
  EXPECT_EQ(broken([](Graph& g, Value, Value, Value) { g.SetOutput(0, Value{}); }),
            head + "output 't' is not defined");
  EXPECT_EQ(broken([](Graph& g, Value x, Value, Value) {
              const Value two[] = {x, x};
              const ValueType type[] = {F32({2})};
              g.AddTypedNode(test::kNeg, two, {}, type, 0);
            }),
            head + "node 2 (neg): infer refuses it: takes 1 input(s) (x), but 2 were given");
  EXPECT_EQ(broken([](Graph& g, Value, Value, Value) {
              auto body = std::make_shared<Graph>();
              const Value x = body->AddInput("x", F32({2}), 0);
              body->AddState(1, "w", F32({2}), 0);
              body->AddOutput("y", x);
              const Value in[] = {g.inputs()[0]};
              const ValueType type[] = {F32({2})};
              g.AddTypedNode(test::kCall, in, {Body(body), Body()}, type, 0);
            }),
            "internal error, please report: the graph is broken after test (in a body): a body has "
            "state of its own: w");
}

TEST(Specialise, SubstitutesTypesAttributesAndBodies) {
  const Graph g = Parse(R"(ostria-graph 1
input %0 "x": float32[batch, 3]
state %1 "w": float32[2]
%2: float32[3*batch] = reshape@1(%0) {shape = shape[3*batch]}
%3: float32[3*batch] = call@1(%2) {body = {
  input %0 "x": float32[3*batch]
  %1: float32[batch, 3] = reshape@1(%0) {shape = shape[batch, 3]}
  %2: float32[3*batch] = reshape@1(%1) {shape = shape[3*batch]}
  output "y" %2
}}
%4: float32[3*batch] = neg@1(%2)
%5: float32[2] = neg@1(%1)
output "y" %3
update %1 = %5
)");
  const Graph s = Specialise(g, {{"batch", 4}});
  Verify(s, "specialise");
  EXPECT_EQ(Print(s), R"(ostria-graph 1
input %0 "x": float32[4, 3]
state %1 "w": float32[2]
%2: float32[12] = reshape@1(%0) {shape = shape[12]}
%3: float32[12] = call@1(%2) {body = {
  input %0 "x": float32[12]
  %1: float32[4, 3] = reshape@1(%0) {shape = shape[4, 3]}
  %2: float32[12] = reshape@1(%1) {shape = shape[12]}
  output "y" %2
}, vjp = none}
%4: float32[12] = neg@1(%2)
%5: float32[2] = neg@1(%1)
output "y" %3
update %1 = %5
)");
  EXPECT_EQ(Specialise(g, {{"batch", 0}}).shape(s.outputs()[0]), Shape({0}));
  EXPECT_THROW(Specialise(g, {}), Error);
}

TEST(Specialise, KeepsVariablesAndTellsTheUsersLine) {
  Graph g;
  const LocationId here = InternLines(std::vector<SourceLine>{{"net.py", 7, "f"}});
  Builder b(g, here);
  const Dim batch = Dim::Symbol("batch");
  const Value w = g.AddState(11, "w", F32({batch - 2}), 0);
  b(test::kNeg, {w});
  EXPECT_EQ(Specialise(g, {{"batch", 5}}).state()[0].variable, 11);
  EXPECT_EQ(Specialise(g, {{"batch", 5}}).location(NodeId{0}), here);
  EXPECT_THROW(Specialise(g, {{"batch", 1}}), Error);
}

TEST(Inline, CopiesTheBodyInPlace) {
  const Graph body = Parse(
      "ostria-graph 1\ninput %a \"a\": float32[2]\ninput %b \"b\": float32[2]\n"
      "%c: float32[2] = add@1(%a, %b)\noutput \"c\" %c\noutput \"a\" %a\n");
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", F32({2}), 0);
  const Value n = b(test::kNeg, {x});
  const LocationId here = InternLines(std::vector<SourceLine>{{"net.py", 7, "f"}});
  const std::vector<Value> out =
      Inline(g, body, std::vector<Value>{x, x}, g.producer(n), here, "call");
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[1], x);
  EXPECT_EQ(g.producer(out[0]), g.first());
  EXPECT_EQ(ShortLocation(g.location(g.producer(out[0]))), "net.py:7");
  Verify(g, "inline");
  EXPECT_THROW(Inline(g, body, std::vector<Value>{x}, {}, here), Error);
}

}  // namespace
}  // namespace ostria
