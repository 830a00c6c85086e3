// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/rows.h"

#include <algorithm>

#include "isa_test_util.h"

namespace ostria {
namespace {

struct Size {
  int64_t rows, cols;
};
const Size kSizes[] = {{1, 1},   {5, 3},    {7, 10},   {3, 16},
                       {64, 17}, {300, 10}, {71, 229}, {513, 1000}};

template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 4e-6 : 1e-13;

template <class T>
std::vector<T> As(const std::vector<float>& v) {
  return std::vector<T>(v.begin(), v.end());
}

template <class Fn>
void ForCases(Fn fn) {
  ForEachIsa([&] {
    for (const Size& s : kSizes) {
      SCOPED_TRACE(std::to_string(s.rows) + " x " + std::to_string(s.cols));
      fn.template operator()<float>(s.rows, s.cols);
      fn.template operator()<double>(s.rows, s.cols);
    }
  });
}

// Runs with one thread and with two; fails unless every byte agrees.
template <class T, class Fn>
std::vector<T> TwoWays(int64_t n, Fn fn) {
  std::vector<T> one(n), two(n);
  WithThreads(1, [&] { fn(one.data()); });
  WithThreads(2, [&] { fn(two.data()); });
  EXPECT_TRUE(SameBits(one, two));
  return one;
}

std::vector<double> ExactSoftmax(const double* x, int64_t cols) {
  const double max = *std::max_element(x, x + cols);
  std::vector<double> p(cols);
  double sum = 0;
  for (int64_t c = 0; c < cols; ++c) sum += p[c] = std::exp(x[c] - max);
  for (double& v : p) v /= sum;
  return p;
}

TEST(Rows, SoftmaxAndItsGradients) {
  ForCases([]<class T>(int64_t rows, int64_t cols) {
    const std::vector<T> x = As<T>(Numbers(rows * cols, -9, 9)),
                         dy = As<T>(Numbers(rows * cols, -1, 1, 2));
    const int64_t n = rows * cols;
    const auto y = TwoWays<T>(n, [&](T* o) { Softmax(x.data(), o, rows, cols); });
    const auto log = TwoWays<T>(n, [&](T* o) { LogSoftmax(x.data(), o, rows, cols); });
    const auto dx = TwoWays<T>(n, [&](T* o) { SoftmaxGrad(y.data(), dy.data(), o, rows, cols); });
    const auto dlog =
        TwoWays<T>(n, [&](T* o) { LogSoftmaxGrad(log.data(), dy.data(), o, rows, cols); });
    for (int64_t r = 0; r < rows; ++r) {
      const std::vector<double> xd(x.begin() + r * cols, x.begin() + (r + 1) * cols);
      const std::vector<double> p = ExactSoftmax(xd.data(), cols);
      double dot = 0, sum = 0;
      for (int64_t c = 0; c < cols; ++c) dot += p[c] * dy[r * cols + c], sum += dy[r * cols + c];
      for (int64_t c = 0; c < cols; ++c) {
        const int64_t i = r * cols + c;
        ASSERT_NEAR(y[i], p[c], kTolerance<T>);
        ASSERT_NEAR(log[i], std::log(p[c]), 2 * kTolerance<T>);
        ASSERT_NEAR(dx[i], p[c] * (dy[i] - dot), 2 * kTolerance<T>);
        ASSERT_NEAR(dlog[i], dy[i] - p[c] * sum, 5 * kTolerance<T>);
      }
    }
  });
}

TEST(Rows, SoftmaxOfExtremes) {
  ForEachIsa([] {
    const float kInf = std::numeric_limits<float>::infinity();
    std::vector<float> x = {1e30f, -1e30f, 1e30f, -kInf, 0, -kInf, 0, NAN, 1};
    Softmax(x.data(), x.data(), 3, 3);
    EXPECT_EQ(std::vector<float>(x.begin(), x.begin() + 6),
              (std::vector<float>{0.5f, 0, 0.5f, 0, 1, 0}));
    for (int i = 6; i < 9; ++i) EXPECT_TRUE(std::isnan(x[i]));
  });
}

TEST(Rows, SparseCrossEntropy) {
  ForCases([]<class T>(int64_t rows, int64_t cols) {
    const std::vector<T> x = As<T>(Numbers(rows * cols, -9, 9)), up = As<T>(Numbers(rows, 0, 2, 3));
    std::vector<int32_t> labels(rows);
    std::vector<int64_t> wide(rows);
    for (int64_t r = 0; r < rows; ++r) wide[r] = labels[r] = static_cast<int32_t>(r * 7 % cols);
    const auto loss = TwoWays<T>(rows, [&](T* o) {
      EXPECT_EQ(SparseSoftmaxCrossEntropy<T>(x.data(), labels.data(), DType::kInt32, nullptr, o,
                                             nullptr, rows, cols, cols),
                -1);
    });
    const auto grad = TwoWays<T>(rows * cols, [&](T* o) {
      SparseSoftmaxCrossEntropy<T>(x.data(), wide.data(), DType::kInt64, up.data(), nullptr, o,
                                   rows, cols, cols);
    });
    for (int64_t r = 0; r < rows; ++r) {
      const std::vector<double> xd(x.begin() + r * cols, x.begin() + (r + 1) * cols);
      const std::vector<double> p = ExactSoftmax(xd.data(), cols);
      ASSERT_NEAR(loss[r], -std::log(p[labels[r]]), 2 * kTolerance<T>);
      for (int64_t c = 0; c < cols; ++c) {
        ASSERT_NEAR(grad[r * cols + c], (p[c] - (c == labels[r])) * up[r], 2 * kTolerance<T>);
      }
    }
    wide[rows / 2] = cols;
    std::vector<T> bad(rows), both(rows * cols);
    EXPECT_EQ(SparseSoftmaxCrossEntropy<T>(x.data(), wide.data(), DType::kInt64, nullptr,
                                           bad.data(), both.data(), rows, cols, cols),
              rows / 2);
    EXPECT_TRUE(std::isnan(bad[rows / 2]) && std::isnan(both[rows / 2 * cols]));
  });
}

TEST(Rows, LayerNormAndItsGradients) {
  ForCases([]<class T>(int64_t rows, int64_t cols) {
    if (cols == 1) return;
    const int64_t n = rows * cols;
    const std::vector<T> x = As<T>(Numbers(n, 3, 7)), gamma = As<T>(Numbers(cols, 0.5, 2, 2));
    const std::vector<T> beta = As<T>(Numbers(cols, -1, 1, 3)), dy = As<T>(Numbers(n, -1, 1, 4));
    std::vector<T> mean(rows), rstd(rows);
    const auto y = TwoWays<T>(n, [&](T* o) {
      LayerNorm(x.data(), gamma.data(), beta.data(), 1e-3, o, mean.data(), rstd.data(), rows, cols);
    });
    std::vector<T> dgamma(cols), dbeta(cols), gamma_again, sums(NormGradSums(rows, cols));
    const auto dx = TwoWays<T>(n, [&](T* o) {
      LayerNormGrad(x.data(), gamma.data(), mean.data(), rstd.data(), dy.data(), o, dgamma.data(),
                    dbeta.data(), rows, cols, sums.data());
      if (gamma_again.empty()) gamma_again = dgamma;
    });
    EXPECT_TRUE(SameBits(dgamma, gamma_again));
    std::vector<double> sum_g(cols), sum_b(cols);
    for (int64_t r = 0; r < rows; ++r) {
      double mu = 0, var = 0, mh = 0, mhx = 0;
      for (int64_t c = 0; c < cols; ++c) mu += x[r * cols + c] / double(cols);
      for (int64_t c = 0; c < cols; ++c) var += std::pow(x[r * cols + c] - mu, 2) / double(cols);
      const double s = 1 / std::sqrt(var + 1e-3);
      for (int64_t c = 0; c < cols; ++c) {
        const int64_t i = r * cols + c;
        const double xhat = (x[i] - mu) * s, h = double(dy[i]) * gamma[c];
        mh += h / cols, mhx += h * xhat / cols;
        sum_g[c] += dy[i] * xhat, sum_b[c] += dy[i];
        ASSERT_NEAR(y[i], xhat * gamma[c] + beta[c], 10 * kTolerance<T>);
      }
      for (int64_t c = 0; c < cols; ++c) {
        const int64_t i = r * cols + c;
        const double want = s * (double(dy[i]) * gamma[c] - mh - (x[i] - mu) * s * mhx);
        ASSERT_NEAR(dx[i], want, 20 * kTolerance<T>);
      }
    }
    for (int64_t c = 0; c < cols; ++c) {
      ASSERT_NEAR(dgamma[c], sum_g[c], 30 * kTolerance<T>);
      ASSERT_NEAR(dbeta[c], sum_b[c], 30 * kTolerance<T>);
    }
  });
}

// Large aligned results are stored past the caches, unaligned ones are not.
TEST(Rows, WhereResultsAreStoredChangesNothing) {
  constexpr int64_t kRows = 1040, kCols = 4096, kN = kRows * kCols;
  const std::vector<float> x = Numbers(kN, -3, 3), g = Numbers(kN, -1, 1, 2);
  const std::vector<float> scale = Numbers(kCols, 0.5, 2, 3);
  std::vector<float> mean(kRows), rstd(kRows), sums(NormGradSums(kRows, kCols));
  std::vector<float> dscale(kCols), dshift(kCols), memory(kN + 32);
  float* const aligned =
      memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64 / 4;
  const auto expect_same = [&](const char* what, auto fn) {
    SCOPED_TRACE(what);
    fn(aligned);
    const std::vector<float> streamed(aligned, aligned + kN);
    fn(aligned + 4);
    EXPECT_EQ(std::memcmp(streamed.data(), aligned + 4, kN * sizeof(float)), 0);
  };
  ForEachIsa([&] {
    expect_same("softmax", [&](float* y) { Softmax(x.data(), y, kRows, kCols); });
    expect_same("log_softmax", [&](float* y) { LogSoftmax(x.data(), y, kRows, kCols); });
    expect_same("softmax_grad",
                [&](float* d) { SoftmaxGrad(x.data(), g.data(), d, kRows, kCols); });
    expect_same("layer_norm", [&](float* y) {
      LayerNorm<float>(x.data(), scale.data(), nullptr, 1e-3, y, mean.data(), rstd.data(), kRows,
                       kCols);
    });
    expect_same("layer_norm_grad", [&](float* d) {
      LayerNormGrad(x.data(), scale.data(), mean.data(), rstd.data(), g.data(), d, dscale.data(),
                    dshift.data(), kRows, kCols, sums.data());
    });
    const std::vector<float> mean_too = mean;
    LayerNorm<float>(x.data(), nullptr, nullptr, 1e-3, nullptr, mean.data(), rstd.data(), kRows,
                     kCols);
    EXPECT_TRUE(SameBits(mean, mean_too));  // nobody reads y
  });
}

TEST(Rows, ColumnSumsAndSumOfSquares) {
  ForEachIsa([] {
    for (const Size& s : {Size{1, 10}, Size{37, 10}, Size{512, 10}, Size{512, 257}, Size{128, 1024},
                          Size{50001, 3}, Size{20000, 40}}) {
      const std::vector<float> x = Numbers(s.rows * s.cols, 0, 1);
      const auto sums =
          TwoWays<float>(s.cols, [&](float* o) { ColumnSums(x.data(), s.rows, s.cols, o); });
      double squares = 0;
      for (int64_t c = 0; c < s.cols; ++c) {
        double want = 0;
        for (int64_t r = 0; r < s.rows; ++r) want += x[r * s.cols + c];
        ASSERT_NEAR(sums[c] / want, 1, 5e-7) << s.rows << " x " << s.cols << " column " << c;
      }
      for (float v : x) squares += double(v) * v;
      const auto got =
          TwoWays<float>(1, [&](float* o) { *o = SumOfSquares(x.data(), s.rows * s.cols); });
      EXPECT_NEAR(got[0] / squares, 1, 5e-7);
    }
  });
}

TEST(Rows, OneBadElementIsFound) {
  ForEachIsa([] {
    std::vector<float> x = Numbers(100003);
    EXPECT_TRUE(AllFinite(x.data(), x.size()));
    for (int64_t at : {int64_t{0}, int64_t{17}, int64_t{70001}, int64_t{100002}}) {
      for (float bad : {INFINITY, -INFINITY, NAN}) {
        const float before = std::exchange(x[at], bad);
        EXPECT_FALSE(AllFinite(x.data(), x.size()));
        EXPECT_TRUE(AllFinite(x.data(), at));
        x[at] = before;
      }
    }
    x[5] = 3.4e38f, x[6] = 3.4e38f;
    EXPECT_TRUE(AllFinite(x.data(), x.size()));
  });
}

}  // namespace
}  // namespace ostria
