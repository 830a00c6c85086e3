// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/reduce.h"

#include "base/error.h"
#include "isa_test_util.h"

namespace ostria {
namespace {

struct Case {
  std::vector<int64_t> sizes;
  std::vector<uint8_t> reduced;
};
const Case kCases[] = {
    {{}, {}},
    {{71}, {1}},
    {{229, 10}, {0, 1}},
    {{229, 10}, {1, 0}},
    {{513, 300}, {1, 0}},
    {{300, 513}, {0, 1}},
    {{3, 70001}, {0, 1}},
    {{70001, 3}, {1, 0}},
    {{400000}, {1}},
    {{5, 17, 9}, {0, 1, 0}},
    {{5, 17, 9}, {1, 0, 1}},
    {{6, 5, 4, 3, 2}, {1, 0, 1, 0, 1}},
    {{6, 5, 4}, {0, 0, 0}},
    {{1, 8, 1}, {1, 0, 1}},
    {{4, 0, 3}, {0, 1, 0}},
    {{0, 3}, {0, 1}},
};

template <class T>
std::vector<T> Reduce(ReduceOp op, DType dtype, const Case& c, const void* in) {
  const ReduceArgs args = {op, dtype, static_cast<int>(c.sizes.size()), c.sizes.data(),
                           reinterpret_cast<const bool*>(c.reduced.data())};
  const ReduceProgram p = PrepareReduce(args);
  std::vector<T> out(p.out_numel), again(p.out_numel);
  std::vector<double> workspace(p.workspace_bytes / 8 + 8);
  void* const aligned =
      reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(workspace.data()) + 63) / 64 * 64);
  WithThreads(1, [&] { RunReduce(p, in, out.data(), aligned); });
  WithThreads(2, [&] { RunReduce(p, in, again.data(), aligned); });
  EXPECT_TRUE(SameBits(out, again)) << "threads change the result";
  return out;
}

// fn(output index, element index, position among the reduced) for every element, row-major.
template <class Fn>
void ForElements(const Case& c, Fn fn) {
  int64_t numel = 1;
  for (int64_t s : c.sizes) numel *= s;
  for (int64_t k = 0; k < numel; ++k) {
    int64_t rest = k, to = 0, position = 0, to_step = 1, position_step = 1;
    for (int d = static_cast<int>(c.sizes.size()) - 1; d >= 0; --d) {
      int64_t& at = c.reduced[d] ? position : to;
      int64_t& step = c.reduced[d] ? position_step : to_step;
      at += rest % c.sizes[d] * step;
      step *= c.sizes[d];
      rest /= c.sizes[d];
    }
    fn(to, k, position);
  }
}

template <class T>
void CheckFloat(DType dtype, const std::vector<T>& x, double tolerance) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(::testing::PrintToString(c.sizes) + ::testing::PrintToString(c.reduced));
    const auto sum = Reduce<T>(ReduceOp::kSum, dtype, c, x.data());
    const auto mean = Reduce<T>(ReduceOp::kMean, dtype, c, x.data());
    const auto max = Reduce<T>(ReduceOp::kMax, dtype, c, x.data());
    const auto min = Reduce<T>(ReduceOp::kMin, dtype, c, x.data());
    const double inf = std::numeric_limits<double>::infinity();
    std::vector<double> s(sum.size()), n(sum.size()), hi(sum.size(), -inf), lo(sum.size(), inf);
    ForElements(c, [&](int64_t to, int64_t k, int64_t) {
      const double v = static_cast<double>(static_cast<float>(x[k]));
      s[to] += v, n[to] += 1, hi[to] = std::max(hi[to], v), lo[to] = std::min(lo[to], v);
    });
    for (size_t i = 0; i < s.size(); ++i) {
      ASSERT_NEAR(static_cast<float>(sum[i]), s[i], tolerance * (s[i] + 1e-30));
      if (n[i] > 0) {
        ASSERT_NEAR(static_cast<float>(mean[i]), s[i] / n[i], tolerance * s[i] / n[i]);
      } else {
        ASSERT_TRUE(std::isnan(static_cast<float>(mean[i])));
      }
      ASSERT_EQ(static_cast<float>(max[i]), static_cast<float>(hi[i]));
      ASSERT_EQ(static_cast<float>(min[i]), static_cast<float>(lo[i]));
    }
  }
}

TEST(Reduce, FloatsOverEveryPattern) {
  ForEachIsa([] {
    const std::vector<float> x =
        Numbers(400000, 0, 1);  // of one sign: the relative error means something
    CheckFloat<float>(DType::kFloat32, x, 6e-7);
    CheckFloat<double>(DType::kFloat64, {x.begin(), x.end()}, 2e-7);  // ASSERT compares as float
    std::vector<BFloat16> low;
    for (float v : Numbers(400000, 0, 0.1f)) low.push_back(BFloat16(v));
    CheckFloat<BFloat16>(DType::kBFloat16, low, 4e-3);
  });
}

TEST(Reduce, ProductsAndIntegers) {
  ForEachIsa([] {
    const std::vector<float> x = {2, 3, -1, 0.5f, 4, 10};
    EXPECT_EQ(Reduce<float>(ReduceOp::kProd, DType::kFloat32, {{2, 3}, {0, 1}}, x.data()),
              (std::vector<float>{-6, 20}));
    EXPECT_EQ(Reduce<float>(ReduceOp::kProd, DType::kFloat32, {{2, 3}, {1, 0}}, x.data()),
              (std::vector<float>{1, 12, -10}));
  });
  for (const Case& c : kCases) {
    std::vector<int32_t> x(400000);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int32_t>(i * 2654435761u);
    const auto sum = Reduce<int32_t>(ReduceOp::kSum, DType::kInt32, c, x.data());
    const auto max = Reduce<int32_t>(ReduceOp::kMax, DType::kInt32, c, x.data());
    std::vector<uint32_t> s(sum.size());
    std::vector<int32_t> m(sum.size(), std::numeric_limits<int32_t>::min());
    ForElements(c, [&](int64_t to, int64_t k, int64_t) {
      s[to] += static_cast<uint32_t>(x[k]);
      m[to] = std::max(m[to], x[k]);
    });
    for (size_t i = 0; i < s.size(); ++i) {
      ASSERT_EQ(static_cast<uint32_t>(sum[i]), s[i]);
      ASSERT_EQ(max[i], m[i]);
    }
  }
  const uint8_t flags[] = {0, 1, 1, 1, 0, 0};
  EXPECT_EQ(Reduce<uint8_t>(ReduceOp::kAny, DType::kBool, {{3, 2}, {0, 1}}, flags),
            (std::vector<uint8_t>{1, 1, 0}));
  EXPECT_EQ(Reduce<uint8_t>(ReduceOp::kAll, DType::kBool, {{3, 2}, {0, 1}}, flags),
            (std::vector<uint8_t>{0, 1, 0}));
}

TEST(Reduce, ArgIsTheFirstAndNanWins) {
  const std::vector<float> x = {1, 5, 5, -2, /**/ 3, NAN, 9, NAN, /**/ -1, -1, -1, -1};
  const Case rows = {{3, 4}, {0, 1}}, columns = {{3, 4}, {1, 0}};
  EXPECT_EQ(Reduce<int64_t>(ReduceOp::kArgMax, DType::kFloat32, rows, x.data()),
            (std::vector<int64_t>{1, 1, 0}));
  EXPECT_EQ(Reduce<int64_t>(ReduceOp::kArgMin, DType::kFloat32, rows, x.data()),
            (std::vector<int64_t>{3, 1, 0}));
  EXPECT_EQ(Reduce<int64_t>(ReduceOp::kArgMax, DType::kFloat32, columns, x.data()),
            (std::vector<int64_t>{1, 1, 1, 1}));
  ForEachIsa([&] {
    EXPECT_TRUE(std::isnan(Reduce<float>(ReduceOp::kMax, DType::kFloat32, rows, x.data())[1]));
    EXPECT_TRUE(std::isnan(Reduce<float>(ReduceOp::kMin, DType::kFloat32, columns, x.data())[3]));
    EXPECT_EQ(Reduce<float>(ReduceOp::kMin, DType::kFloat32, columns, x.data())[2], -1);
    // A NaN in every lane of a long row.
    for (int64_t at : {0, 1, 15, 16, 63, 64, 998, 999}) {
      std::vector<float> y(1000, 1);
      y[at] = NAN;
      EXPECT_TRUE(
          std::isnan(Reduce<float>(ReduceOp::kMax, DType::kFloat32, {{1000}, {1}}, y.data())[0]))
          << at;
    }
  });
  EXPECT_THROW(
      Reduce<int64_t>(ReduceOp::kArgMax, DType::kFloat32, {{2, 2, 2}, {1, 0, 1}}, x.data()), Error);
  EXPECT_THROW(Reduce<int64_t>(ReduceOp::kMean, DType::kInt32, rows, x.data()), Error);
}

}  // namespace
}  // namespace ostria
