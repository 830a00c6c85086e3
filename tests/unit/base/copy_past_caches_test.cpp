// SPDX-License-Identifier: Apache-2.0
#include "base/copy_past_caches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace ostria {
namespace {

TEST(CopyPastCaches, CopiesWhatItIsGivenAndNoMore) {
  std::vector<char> from(700), to(700);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>(i * 7 + 1);
  for (size_t at : {0, 1, 63}) {
    for (size_t bytes : {0, 5, 64, 200, 513}) {
      std::fill(to.begin(), to.end(), 0);
      CopyPastCaches(to.data() + at, from.data() + 3, static_cast<int64_t>(bytes));
      for (size_t i = 0; i < to.size(); ++i) {
        const bool inside = i >= at && i < at + bytes;
        ASSERT_EQ(to[i], inside ? from[i - at + 3] : 0) << at << " " << bytes << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace ostria
