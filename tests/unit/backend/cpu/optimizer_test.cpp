// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/optimizer.h"

#include "isa_test_util.h"

namespace ostria {
namespace {

// Three segments, one longer than a thread's grain; a plain loop in double is the reference.
template <class T, class Update, class Reference>
void CheckOptimizer(bool slots, Update update, Reference reference) {
  ForEachIsa([&] {
    const int64_t sizes[] = {5, 40007, 300};
    std::vector<T> w[3], g[3], m[3], v[3], first_w[3];
    std::vector<double> ew[3], em[3], ev[3];
    for (int threads : {1, 2}) {
      std::vector<OptimizerSegment<T>> segments;
      for (int s = 0; s < 3; ++s) {
        const auto fill = [&](std::vector<T>* x, float low, uint32_t seed) {
          const std::vector<float> values = Numbers(sizes[s], low, 1, seed + s);
          x->assign(values.begin(), values.end());
        };
        fill(&w[s], -1, 1), fill(&g[s], -1, 11), fill(&m[s], 0, 21), fill(&v[s], 0, 31);
        ew[s].assign(w[s].begin(), w[s].end());
        em[s].assign(m[s].begin(), m[s].end());
        ev[s].assign(v[s].begin(), v[s].end());
        segments.push_back(
            {w[s].data(), g[s].data(), slots ? m[s].data() : nullptr, v[s].data(), sizes[s]});
      }
      WithThreads(threads, [&] {
        for (int step = 1; step <= 3; ++step) update(step, segments.data(), 3);
      });
      for (int s = 0; s < 3; ++s) {
        for (int64_t i = 0; i < sizes[s]; ++i) {
          for (int step = 1; step <= 3; ++step)
            reference(step, ew[s][i], double(g[s][i]), em[s][i], ev[s][i]);
          ASSERT_NEAR(w[s][i], ew[s][i], sizeof(T) == 4 ? 2e-6 : 1e-14)
              << "segment " << s << " at " << i;
          ASSERT_NEAR(m[s][i], em[s][i], sizeof(T) == 4 ? 2e-6 : 1e-14);
        }
        if (threads == 1) first_w[s] = w[s];
        EXPECT_TRUE(SameBits(first_w[s], w[s]));
      }
    }
  });
}

template <class T>
void CheckAll() {
  using Segments = const OptimizerSegment<T>*;
  CheckOptimizer<T>(
      false,
      [](int, Segments s, int n) {
        SgdUpdate({0.1, 0, false, 0.01, 0.5}, s, n);
      },
      [](int, double& w, double g, double&, double&) {
        w -= 0.1 * 0.01 * w;
        w -= 0.1 * 0.5 * g;
      });
  for (bool nesterov : {false, true}) {
    CheckOptimizer<T>(
        true,
        [=](int, Segments s, int n) {
          SgdUpdate({0.1, 0.9, nesterov}, s, n);
        },
        [=](int, double& w, double g, double& m, double&) {
          m = 0.9 * m - 0.1 * g;
          w += nesterov ? 0.9 * m - 0.1 * g : m;
        });
  }
  CheckOptimizer<T>(
      true,
      [](int step, Segments s, int n) {
        AdamUpdate({0.01, 0.9, 0.999, 1e-7, step, 0.1, 0.25}, s, n);
      },
      [](int t, double& w, double g, double& m, double& v) {
        g *= 0.25;
        w -= 0.01 * 0.1 * w;
        m += (g - m) * (1 - 0.9);
        v += (g * g - v) * (1 - 0.999);
        const double alpha = 0.01 * std::sqrt(1 - std::pow(0.999, t)) / (1 - std::pow(0.9, t));
        w -= m * alpha / (std::sqrt(v) + 1e-7);
      });
  CheckOptimizer<T>(
      true,
      [](int, Segments s, int n) {
        AdagradUpdate({0.05, 1e-7, 0, 2}, s, n);
      },
      [](int, double& w, double g, double& m, double&) {
        g *= 2;
        m += g * g;
        w -= 0.05 * g / std::sqrt(m + 1e-7);
      });
}

TEST(Optimizer, StepsFollowTheFormulas) {
  CheckAll<float>();
  CheckAll<double>();
}

}  // namespace
}  // namespace ostria
