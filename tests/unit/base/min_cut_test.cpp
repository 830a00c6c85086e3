// SPDX-License-Identifier: Apache-2.0
#include "base/min_cut.h"

#include <gtest/gtest.h>

namespace ostria {
namespace {

TEST(MinCut, CutsTheCheapestEdges) {
  MinCut cut;
  const int a = cut.AddNode(), b = cut.AddNode();
  cut.AddEdge(MinCut::kBegin, a, 3);
  cut.AddEdge(MinCut::kBegin, b, 9);
  cut.AddEdge(b, a, 5);
  cut.AddEdge(a, MinCut::kEnd, 7);
  cut.AddEdge(b, MinCut::kEnd, 2);
  EXPECT_EQ(cut.Run(), 9);  // a to the end and b to the end
  const std::vector<bool> reached = cut.Reached();
  EXPECT_TRUE(reached[MinCut::kBegin] && reached[b]);
  EXPECT_FALSE(reached[MinCut::kEnd]);
}

TEST(MinCut, TakesBackWhatItSentTheWrongWay) {
  // The shortest path first goes through a -> d, which two paths of the best flow avoid.
  MinCut cut;
  const int a = cut.AddNode(), b = cut.AddNode(), c = cut.AddNode(), d = cut.AddNode();
  cut.AddEdge(MinCut::kBegin, a, 1);
  cut.AddEdge(MinCut::kBegin, b, 1);
  cut.AddEdge(a, d, 1);
  cut.AddEdge(a, c, 1);
  cut.AddEdge(b, d, 1);
  cut.AddEdge(c, MinCut::kEnd, 1);
  cut.AddEdge(d, MinCut::kEnd, 1);
  EXPECT_EQ(cut.Run(), 2);
}

TEST(MinCut, NeverCutsWhatItMustNot) {
  MinCut cut;
  const int a = cut.AddNode();
  cut.AddEdge(MinCut::kBegin, a, MinCut::kNever);
  cut.AddEdge(a, MinCut::kEnd, 4);
  EXPECT_EQ(cut.Run(), 4);
  EXPECT_TRUE(cut.Reached()[a]);
  EXPECT_EQ(MinCut().Run(), 0);
}

}  // namespace
}  // namespace ostria
