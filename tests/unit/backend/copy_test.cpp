// SPDX-License-Identifier: Apache-2.0
// Strided copies and dtype conversion against loops that a reader can check at a glance.
#include "backend/cpu/copy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "backend/cpu/convert.h"

namespace ostria::cpu {
namespace {

template <class T>
void CheckCopy(std::vector<int64_t> sizes, std::vector<int64_t> src, std::vector<int64_t> dst) {
  // Blocks begin in the middle, so that negative strides stay inside.
  int64_t total = 1, reach = 1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    total *= sizes[i];
    reach += sizes[i] * std::max(std::abs(src[i]), std::abs(dst[i]));
  }
  std::vector<T> from(static_cast<size_t>(2 * reach)), to(from.size(), T(7)), want = to;
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(i * 31 + 1);
  for (int64_t i = 0; i < total; ++i) {
    int64_t rest = i, s = reach, d = reach;
    for (size_t k = sizes.size(); k-- > 0;) {
      s += rest % sizes[k] * src[k];
      d += rest % sizes[k] * dst[k];
      rest /= sizes[k];
    }
    want[static_cast<size_t>(d)] = from[static_cast<size_t>(s)];
  }
  const CopyProgram p = PrepareCopy(sizeof(T), sizes, src, dst);
  RunCopy(p, from.data() + reach, to.data() + reach);
  EXPECT_EQ(to, want) << testing::PrintToString(sizes) << testing::PrintToString(src)
                      << testing::PrintToString(dst);
}

TEST(Copy, RandomStrides) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    const size_t rank = random() % 5;
    std::vector<int64_t> sizes(rank), dense(rank), src(rank), dst(rank);
    std::vector<size_t> order(rank);
    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    for (int64_t& n : sizes) n = 1 + static_cast<int64_t>(random() % 40) / (trial % 3 + 1);
    int64_t stride = 1 + random() % 2;
    for (size_t k : order) {  // a permuted source, some axes repeated or reversed
      src[k] = stride;
      stride *= sizes[k];
      if (random() % 5 == 0) src[k] = 0;
      if (random() % 5 == 0) src[k] = -src[k];
    }
    stride = 1 + random() % 2;
    for (size_t k = rank; k-- > 0;) {
      dst[k] = random() % 6 == 0 ? -stride : stride;
      stride *= sizes[k] + static_cast<int64_t>(random() % 2);
    }
    switch (trial % 4) {
      case 0: CheckCopy<uint8_t>(sizes, src, dst); break;
      case 1: CheckCopy<uint16_t>(sizes, src, dst); break;
      case 2: CheckCopy<float>(sizes, src, dst); break;
      default: CheckCopy<double>(sizes, src, dst); break;
    }
  }
}

TEST(Copy, LargeEnoughForThreads) {
  CheckCopy<float>({300, 701}, {1, 300}, {701, 1});                  // transpose
  CheckCopy<float>({64, 16, 301}, {301, 0, 1}, {16 * 301, 301, 1});  // broadcast
  CheckCopy<uint8_t>({1 << 20}, {-1}, {1});                          // reversal
}

TEST(Copy, NoElements) {
  float x = 1, y = 2;
  RunCopy(PrepareCopy(4, std::vector<int64_t>{3, 0}, std::vector<int64_t>{1, 1},
                      std::vector<int64_t>{1, 1}),
          &x, &y);
  EXPECT_EQ(y, 2);
}

template <class To>
To FromDouble(double value, DType to) {
  To out;
  Convert(&value, DType::kFloat64, &out, to, 1);
  return out;
}

TEST(Convert, FloatsToIntegersSaturate) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  EXPECT_EQ(FromDouble<int8_t>(127.9, DType::kInt8), 127);
  EXPECT_EQ(FromDouble<int8_t>(128.0, DType::kInt8), 127);
  EXPECT_EQ(FromDouble<int8_t>(-128.9, DType::kInt8), -128);
  EXPECT_EQ(FromDouble<int8_t>(-3.9, DType::kInt8), -3);
  EXPECT_EQ(FromDouble<uint8_t>(-3.9, DType::kUInt8), 0);
  EXPECT_EQ(FromDouble<uint8_t>(-0.9, DType::kUInt8), 0);
  EXPECT_EQ(FromDouble<int32_t>(1e20, DType::kInt32), std::numeric_limits<int32_t>::max());
  EXPECT_EQ(FromDouble<int64_t>(inf, DType::kInt64), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(FromDouble<int64_t>(-inf, DType::kInt64), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(FromDouble<uint64_t>(18446744073709549568.0, DType::kUInt64), 18446744073709549568u);
  EXPECT_EQ(FromDouble<uint64_t>(1e20, DType::kUInt64), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(FromDouble<int32_t>(nan, DType::kInt32), 0);
  EXPECT_EQ(FromDouble<bool>(nan, DType::kBool), true);
  EXPECT_EQ(FromDouble<bool>(0.5, DType::kBool), true);
  EXPECT_EQ(FromDouble<bool>(-0.0, DType::kBool), false);
}

TEST(Convert, EveryPairOfDTypesKeepsSmallNumbers) {
  constexpr int64_t n = 1100;  // more than one chunk of half storage
  for (int from = 0; from < kNumDTypes; ++from) {
    for (int to = 0; to < kNumDTypes; ++to) {
      const DType f = static_cast<DType>(from), t = static_cast<DType>(to);
      std::vector<double> numbers(n), back(n);
      for (int64_t i = 0; i < n; ++i) numbers[i] = static_cast<double>(i % 101);
      std::vector<uint64_t> a(n), b(n);
      Convert(numbers.data(), DType::kFloat64, a.data(), f, n);
      Convert(a.data(), f, b.data(), t, n);
      Convert(b.data(), t, back.data(), DType::kFloat64, n);
      const bool as_bool = f == DType::kBool || t == DType::kBool;
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_EQ(back[i], as_bool ? numbers[i] != 0 : numbers[i]) << Name(f) << " to " << Name(t);
      }
    }
  }
}

}  // namespace
}  // namespace ostria::cpu
