// SPDX-License-Identifier: Apache-2.0
#include "dist/control/join_time.h"

#include <gtest/gtest.h>

namespace ostria::control {
namespace {

TEST(JoinTime, IsThatOfThreadsThatReallyMeet) {
  EXPECT_GT(MeasureJoin(1), 0.0);
  const double several = MeasureJoin(16);
  EXPECT_GT(several, 0.0);
  EXPECT_LT(several, 60.0);
}

}  // namespace
}  // namespace ostria::control
