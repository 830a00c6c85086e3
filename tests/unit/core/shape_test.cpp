// SPDX-License-Identifier: Apache-2.0
#include "core/shape.h"

#include <gtest/gtest.h>

namespace ostria {
namespace {

TEST(Shape, CountsElementsWithoutOverflow) {
  EXPECT_EQ(Shape({}).numel(), 1);
  EXPECT_EQ(Shape({3, 0, 5}).numel(), 0);
  EXPECT_EQ(Shape({int64_t{1} << 28, int64_t{1} << 28}).numel(), int64_t{1} << 56);
  try {
    Shape({INT64_MAX, 3}).numel();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(
        e.message(),
        "a tensor of shape [9223372036854775807, 3] has more elements than any machine can hold; "
        "check its sizes");
  }
  EXPECT_THROW(Shape({(int64_t{1} << 56) + 1}).numel(), Error);
}

}  // namespace
}  // namespace ostria
