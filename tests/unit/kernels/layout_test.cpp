// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/layout.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace ostria::kernels {
namespace {

struct Part {
  int32_t count = 0, unused = 0;
};
OSTRIA_LAYOUT(Part, 8, count, unused);
struct Plain {
  const void* x = nullptr;
  Part parts[3];
  float scale = 1;
  int32_t unused = 0;
};
OSTRIA_LAYOUT(Plain, 40, x, parts, scale, unused);

TEST(KernelLayout, HasNeitherGapsNorOtherMembers) {
  constexpr LayoutMember kMembers[] = {{0, 8}, {8, 4}, {12, 4}};
  EXPECT_TRUE(FollowEachOther(kMembers, 16));
  EXPECT_FALSE(FollowEachOther(kMembers, 24));                  // one is missing
  EXPECT_FALSE(FollowEachOther({{0, 4}, {8, 8}}, 16));          // a gap
  EXPECT_FALSE(FollowEachOther({{8, 8}, {0, 8}}, 16));          // another order
  EXPECT_FALSE(FollowEachOther({{0, 8}, {8, 8}, {8, 8}}, 16));  // one twice
}

}  // namespace
}  // namespace ostria::kernels
