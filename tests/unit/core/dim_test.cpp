// SPDX-License-Identifier: Apache-2.0
#include "core/dim.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace ostria {
namespace {

TEST(Dim, EqualExpressionsAreTheSameDim) {
  const Dim b = Dim::Symbol("batch");
  EXPECT_EQ((b + 1) * (b + 1), b * b + Dim(2) * b + 1);
  EXPECT_EQ(ToString((b + 1) * (b + 1)), "batch*batch + 2*batch + 1");
  EXPECT_EQ(FloorDiv(Dim(6) * b, 2), Dim(3) * b);
  EXPECT_EQ(b - b, Dim(0));
}

TEST(Dim, ComparisonIsThreeValued) {
  const Dim b = Dim::Symbol("batch");
  EXPECT_EQ(Equal(b, b), Tri::kYes);
  EXPECT_EQ(Equal(b, b + 1), Tri::kNo);
  EXPECT_EQ(Equal(b, 3), Tri::kUnknown);
  EXPECT_EQ(Equal(b, Dim::Symbol("time")), Tri::kUnknown);
}

TEST(Dim, PrintParseRoundTrips) {
  const Dim b = Dim::Symbol("batch");
  for (Dim d : {Dim(7), b, Dim(2) * b + 3, FloorDiv(b + 1, 2), Mod(b, 3) * b, Max(b - 1, Dim(4)),
                FloorDiv(Dim(2) * b - 5, 3) + 1}) {
    EXPECT_EQ(ParseDim(ToString(d)), d) << ToString(d);
  }
}

TEST(Dim, SubstituteEvaluates) {
  const Dim b = Dim::Symbol("batch");
  EXPECT_EQ(Substitute(FloorDiv(b + 1, 2), {{"batch", 0}}), 0);
  EXPECT_EQ(Substitute(Dim(2) * b + 3, {{"batch", 37}}), 77);
  EXPECT_THROW(Substitute(b, {}), Error);
  EXPECT_THROW(Substitute(b - 5, {{"batch", 2}}), Error);
}

TEST(Dim, ANegativeSizeIsAnErrorAndNotAnExpression) {
  for (const int64_t value : {int64_t{-1}, INT64_MIN}) EXPECT_THROW(Dim{value}, Error);
  EXPECT_THROW(Dim(2) - Dim(3), Error);
}

TEST(Dim, BadTextIsAnError) {
  for (const char* text : {"", "2*", "foo(", "max(1)", "99999999999999999999", "a b", "-"}) {
    EXPECT_THROW(ParseDim(text), Error) << text;
  }
}

}  // namespace
}  // namespace ostria
