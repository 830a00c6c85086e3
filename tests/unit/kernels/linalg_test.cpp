// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "core/dtype.h"
#include "kernels/host/shim.h"
#include "kernels/linalg/relu_mask.h"

namespace ostria::kernels {
namespace {

// Signs that repeat after 7 columns, so that no two bytes are alike; a zero of each sign, and NaN.
float Element(int64_t i) {
  if (i % 11 == 3) return 0.0f;
  if (i % 13 == 4) return -0.0f;
  if (i % 17 == 5) return std::numeric_limits<float>::quiet_NaN();
  return static_cast<float>(i % 7) - 3.0f;
}

template <class T>
void CheckMask(const char* suffix, int64_t rows, int64_t cols, int64_t skew) {
  SCOPED_TRACE(std::string(suffix) + " " + std::to_string(rows) + " x " + std::to_string(cols) +
               " skew " + std::to_string(skew));
  std::vector<T> y(static_cast<size_t>(rows * cols + skew + 1), T(7.0f));
  for (int64_t i = 0; i < rows * cols; ++i) y[static_cast<size_t>(i + skew)] = T(Element(i));
  const int64_t row_bytes = (cols + 127) / 128 * 16;
  std::vector<uint8_t> mask(static_cast<size_t>(rows * row_bytes + 1), 0xee);
  const ReluMaskParams p{y.data() + skew, mask.data(), rows, cols, row_bytes};
  host::Launch((std::string("relu_mask_") + suffix).c_str(), {2}, {64}, 0, &p, sizeof p);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < row_bytes * 8; ++j) {
      const bool set = (mask[static_cast<size_t>(r * row_bytes + j / 8)] >> (j % 8) & 1) != 0;
      ASSERT_EQ(set, j < cols && Element(r * cols + j) > 0) << r << " " << j;
    }
  }
  EXPECT_EQ(mask.back(), 0xee);

  std::vector<T> g(y.size(), T(7.0f));
  for (int64_t i = 0; i < rows * cols; ++i) g[static_cast<size_t>(i + skew)] = T(1.0f + i % 5);
  ReluMaskParams q = p;
  q.y = g.data() + skew;
  host::Launch((std::string("apply_relu_mask_") + suffix).c_str(), {2}, {64}, 0, &q, sizeof q);
  for (int64_t i = 0; i < rows * cols; ++i) {
    const auto got = static_cast<float>(g[static_cast<size_t>(i + skew)]);
    ASSERT_EQ(got, Element(i) > 0 ? 1.0f + static_cast<float>(i % 5) : 0.0f) << i;
  }
  EXPECT_EQ(static_cast<float>(g.back()), 7.0f);
}

TEST(LinalgKernels, ReluMaskIsABitForEachElement) {
  for (const auto& [rows, cols] :
       {std::pair<int64_t, int64_t>{1, 1}, {3, 8}, {5, 16}, {2, 128}, {3, 129}, {7, 229}}) {
    for (const int64_t skew : {0, 1, 8}) {
      CheckMask<float>("float32", rows, cols, skew);
      CheckMask<ostria::Float16>("float16", rows, cols, skew);
      CheckMask<ostria::BFloat16>("bfloat16", rows, cols, skew);
    }
  }
}

}  // namespace
}  // namespace ostria::kernels
