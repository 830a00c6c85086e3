// SPDX-License-Identifier: Apache-2.0
// What a graph ends in: which values its outputs and updated variables name, through every rewrite.
#include <gtest/gtest.h>

#include "test_ops.h"

namespace ostria {
namespace {

const ValueType kVector = test::F32({4});

struct Ends : testing::Test {
  Graph g;
  Builder b{g, 0};
  Value x = g.AddInput("x", kVector, 0);
  Value w = g.AddState(1, "w", kVector, 0);
  Value e = b(test::kNeg, {x});
  Value t = b(test::kAdd, {x, x});
};

TEST_F(Ends, AStateThatIsOnlyReadIsItsOwnEnd) {
  EXPECT_TRUE(g.is_output(w));
  g.SetStateOut(0, e);
  EXPECT_FALSE(g.is_output(w));
  EXPECT_TRUE(g.is_output(e));
}

TEST_F(Ends, AValueNamedTwiceStaysAnEndUntilBothNameAnother) {
  g.AddOutput("y", e);
  g.SetStateOut(0, e);
  g.SetOutput(0, t);
  EXPECT_TRUE(g.is_output(e));
  g.SetStateOut(0, w);
  EXPECT_FALSE(g.is_output(e));
  EXPECT_TRUE(g.is_output(t));
}

TEST_F(Ends, ReplacingAValueMovesEveryEnd) {
  g.AddOutput("a", e);
  g.AddOutput("b", t);
  g.AddOutput("c", e);
  g.SetStateOut(0, e);
  g.ReplaceAllUses(e, t);
  EXPECT_FALSE(g.is_output(e));
  for (const Value v : g.outputs()) EXPECT_EQ(v, t);
  EXPECT_EQ(g.state()[0].out, t);
  Verify(g, "test");
  g.ReplaceAllUses(t, x);
  EXPECT_EQ(g.state()[0].out, x);
  EXPECT_TRUE(g.is_output(x));
}

TEST_F(Ends, RemovingAnOutputRenumbersThoseBehindIt) {
  g.AddOutput("a", e);
  g.AddOutput("b", t);
  g.AddOutput("c", e);
  g.RemoveOutput(0);
  EXPECT_TRUE(g.is_output(e));
  g.ReplaceAllUses(t, x);
  g.SetOutput(1, x);
  EXPECT_FALSE(g.is_output(e));
  EXPECT_FALSE(g.is_output(t));
  Verify(g, "test");
  EXPECT_EQ(g.outputs().size(), 2u);
  for (const Value v : g.outputs()) EXPECT_EQ(v, x);
}

TEST_F(Ends, ACopyHasItsOwn) {
  g.AddOutput("a", e);
  Graph copy = g.Clone();
  copy.ReplaceAllUses(e, t);
  EXPECT_TRUE(g.is_output(e));
  EXPECT_FALSE(copy.is_output(e));
  EXPECT_TRUE(copy.is_output(t));
  Verify(copy, "test");
}

}  // namespace
}  // namespace ostria
