// SPDX-License-Identifier: Apache-2.0
// The canonical tree, against one that adds element by element.
#include "dist/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/error.h"

namespace ostria {
namespace {

// Neighbours first, recursively: what the header promises, in its plainest form.
template <class W>
W Tree(std::vector<W> values, ReduceOp op) {
  while (values.size() > 1) {
    std::vector<W> next;
    for (size_t i = 0; i < values.size(); i += 2) {
      if (i + 1 == values.size()) {
        next.push_back(values[i]);
        continue;
      }
      const W a = values[i], b = values[i + 1];
      if (op == ReduceOp::kSum)
        next.push_back(static_cast<W>(a + b));
      else if (b != b || (op == ReduceOp::kMin ? b < a : b > a))
        next.push_back(b);
      else
        next.push_back(a);
    }
    values = next;
  }
  return values[0];
}

template <class T>
DType TypeOf() {
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto type = static_cast<DType>(i);
    if (DispatchDType(type, []<class U>(U*) { return std::is_same_v<U, T>; })) return type;
  }
  return DType::kBool;
}

template <class T>
class ReduceTreeOf : public ::testing::Test {};
using Types = ::testing::Types<float, double, int32_t, int64_t, uint8_t, Float16, BFloat16>;
TYPED_TEST_SUITE(ReduceTreeOf, Types);

TYPED_TEST(ReduceTreeOf, HasTheBitsOfTheDefinitionForAnyNumberOfRanks) {
  using T = TypeParam;
  using W = std::conditional_t<sizeof(T) == 2, float, T>;
  std::mt19937 engine(3);
  std::uniform_real_distribution<double> random(-20, 20);
  const int64_t count = 5003, begin = 3, end = 4998;  // more than one tile, and odd ends
  for (const size_t ranks : {1, 2, 3, 5, 6, 8}) {
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax}) {
      std::vector<std::vector<T>> data(ranks, std::vector<T>(count));
      for (auto& d : data) {
        for (T& x : d) {
          x = static_cast<T>(static_cast<W>(std::abs(random(engine)) * (sizeof(T) == 1 ? 1 : -3)));
        }
      }
      if constexpr (std::is_same_v<T, float>)
        data[ranks / 2][100] = std::numeric_limits<float>::quiet_NaN();
      std::vector<T> expected(count);
      for (int64_t i = begin; i < end; ++i) {
        std::vector<W> values;
        for (const auto& d : data) values.push_back(static_cast<W>(d[i]));
        expected[i] = static_cast<T>(Tree(values, op));
      }
      std::vector<T> other(count);
      std::vector<const void*> in;
      for (auto& d : data) in.push_back(d.data());
      // Into the last rank's own memory and into another place at once.
      void* const out[] = {other.data(), data[ranks - 1].data()};
      const std::vector<T> before = data[ranks - 1];
      ReduceTree(in, out, begin, end, TypeOf<T>(), op);
      for (int64_t i = 0; i < count; ++i) {
        const T& mine = data[ranks - 1][i];
        if (i < begin || i >= end) {
          ASSERT_EQ(std::memcmp(&mine, &before[i], sizeof(T)), 0) << i << " is not in the range";
        } else {
          ASSERT_EQ(std::memcmp(&mine, &expected[i], sizeof(T)), 0) << ranks << " ranks, " << i;
          ASSERT_EQ(std::memcmp(&other[i], &expected[i], sizeof(T)), 0) << i;
        }
      }
    }
  }
}

TEST(ReduceTree, RefusesBool) {
  bool x = true;
  const void* in[] = {&x};
  void* out[] = {&x};
  EXPECT_THROW(ReduceTree(in, out, 0, 1, DType::kBool, ReduceOp::kSum), Error);
}

}  // namespace
}  // namespace ostria
