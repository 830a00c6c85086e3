// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/optimizer.h"

#include <algorithm>
#include <functional>

#include "isa_test_util.h"

namespace ostria {
namespace {

constexpr double kRate = 0.05, kDecay = 0.1, kScale = 0.25;

struct RuleCase {
  OptimizerRule rule;
  std::vector<double> attrs;
  // One step of one element; s: slots.
  std::function<void(int t, double& w, double g, double* s)> reference;
};

void Blend(double& slot, double now, double share) { slot += (now - slot) * (1 - share); }

std::vector<RuleCase> Cases() {
  const auto momentum = [](bool nesterov) {
    return [=](int, double& w, double g, double* s) {
      s[0] = 0.9 * s[0] - kRate * g;
      w += nesterov ? 0.9 * s[0] - kRate * g : s[0];
    };
  };
  return {
      {OptimizerRule::kSgd, {}, [](int, double& w, double g, double*) { w -= kRate * g; }},
      {OptimizerRule::kMomentum, {0.9, 0}, momentum(false)},
      {OptimizerRule::kMomentum, {0.9, 1}, momentum(true)},
      {OptimizerRule::kAdam,
       {0.9, 0.999, 1e-7},
       [](int t, double& w, double g, double* s) {
         Blend(s[0], g, 0.9), Blend(s[1], g * g, 0.999);
         const double alpha = kRate * std::sqrt(1 - std::pow(0.999, t)) / (1 - std::pow(0.9, t));
         w -= s[0] * alpha / (std::sqrt(s[1]) + 1e-7);
       }},
      {OptimizerRule::kAdagrad,
       {1e-7},
       [](int, double& w, double g, double* s) {
         s[0] += g * g;
         w -= kRate * g / std::sqrt(s[0] + 1e-7);
       }},
      {OptimizerRule::kRmsprop,
       {0.9, 1e-3},
       [](int, double& w, double g, double* s) {
         Blend(s[0], g * g, 0.9);
         w -= kRate * g / std::sqrt(s[0] + 1e-3);
       }},
      {OptimizerRule::kRmspropMomentum,
       {0.9, 0.5, 1e-3},
       [](int, double& w, double g, double* s) {
         Blend(s[0], g * g, 0.9);
         s[1] = 0.5 * s[1] + kRate * g / std::sqrt(s[0] + 1e-3);
         w -= s[1];
       }},
      {OptimizerRule::kRmspropCentered,
       {0.9, 0.5, 2},
       [](int, double& w, double g, double* s) {
         Blend(s[0], g * g, 0.9), Blend(s[1], g, 0.9);
         s[2] = 0.5 * s[2] + kRate * g / std::sqrt(std::max(s[0] - s[1] * s[1], 0.0) + 2);
         w -= s[2];
       }},
      {OptimizerRule::kAdadelta,
       {0.95, 1e-3},
       [](int, double& w, double g, double* s) {
         Blend(s[0], g * g, 0.95);
         const double move = g * std::sqrt(s[1] + 1e-3) / std::sqrt(s[0] + 1e-3);
         Blend(s[1], move * move, 0.95);
         w -= kRate * move;
       }},
      {OptimizerRule::kAdamax,
       {0.9, 0.999, 1e-3},
       [](int t, double& w, double g, double* s) {
         Blend(s[0], g, 0.9);
         s[1] = std::max(0.999 * s[1], std::abs(g));
         w -= kRate / (1 - std::pow(0.9, t)) * s[0] / (s[1] + 1e-3);
       }},
      {OptimizerRule::kNadam,
       {0.9, 0.999, 1e-3},
       [](int t, double& w, double g, double* s) {
         const auto share = [](int i) { return 0.9 * (1 - 0.5 * std::pow(0.96, i)); };
         double all = 1;
         for (int i = 1; i <= t; ++i) all *= share(i);
         Blend(s[0], g, 0.9), Blend(s[1], g * g, 0.999);
         const double next = share(t + 1);
         const double m = next * s[0] / (1 - all * next) + (1 - share(t)) * g / (1 - all);
         w -= kRate * m / (std::sqrt(s[1] / (1 - std::pow(0.999, t))) + 1e-3);
       }},
      {OptimizerRule::kFtrl,
       {-0.5, 0.05, 0.5, 0.25, 1},
       [](int, double& w, double g, double* s) {
         const double before = std::sqrt(s[0]);
         s[0] += g * g;
         const double after = std::sqrt(s[0]);
         s[1] += g + 2 * 0.25 * w - (after - before) / kRate * w;
         w = (std::clamp(s[1], -0.05, 0.05) - s[1]) / ((after + 1) / kRate + 2 * 0.5);
       }},
      {OptimizerRule::kLion,
       {0.9, 0.99},
       [](int, double& w, double g, double* s) {
         const double d = 0.9 * s[0] + (1 - 0.9) * g;
         w -= kRate * ((d > 0) - (d < 0));
         s[0] = 0.99 * s[0] + (1 - 0.99) * g;
       }},
  };
}

// Three segments, one longer than a thread's grain; a plain loop in double is the reference.
template <class T>
void CheckRule(const RuleCase& c) {
  ForEachIsa([&] {
    const int64_t sizes[] = {5, 40007, 300};
    std::vector<T> w[3], g[3], slots[3][kMaxSlots], first_w[3];
    std::vector<double> ew[3], es[3][kMaxSlots];
    for (int threads : {1, 2}) {
      std::vector<OptimizerSegment<T>> segments;
      for (int s = 0; s < 3; ++s) {
        const auto fill = [&](std::vector<T>* x, float low, uint32_t seed) {
          const std::vector<float> values = Numbers(sizes[s], low, 1, seed + s);
          x->assign(values.begin(), values.end());
        };
        fill(&w[s], -1, 1), fill(&g[s], -1, 11);
        ew[s].assign(w[s].begin(), w[s].end());
        OptimizerSegment<T> segment = {w[s].data(), g[s].data(), {}, sizes[s]};
        for (int k = 0; k < NumSlots(c.rule); ++k) {
          fill(&slots[s][k], 0.1f, 21 + 10 * k);
          es[s][k].assign(slots[s][k].begin(), slots[s][k].end());
          segment.slots[k] = slots[s][k].data();
        }
        segments.push_back(segment);
      }
      WithThreads(threads, [&] {
        for (int step = 1; step <= 3; ++step) {
          const UpdateParams p = ParamsOf(c.rule, c.attrs.data(), kRate, step, kDecay, kScale);
          UpdateSegments(c.rule, p, segments.data(), 3);
        }
      });
      for (int s = 0; s < 3; ++s) {
        for (int64_t i = 0; i < sizes[s]; ++i) {
          double element[kMaxSlots] = {};
          for (int k = 0; k < NumSlots(c.rule); ++k) element[k] = es[s][k][i];
          for (int step = 1; step <= 3; ++step) {
            ew[s][i] *= 1 - kRate * kDecay;
            c.reference(step, ew[s][i], kScale * double(g[s][i]), element);
          }
          ASSERT_NEAR(w[s][i], ew[s][i], sizeof(T) == 4 ? 4e-6 : 1e-13)
              << "rule " << int(c.rule) << " segment " << s << " at " << i;
          for (int k = 0; k < NumSlots(c.rule); ++k) {
            ASSERT_NEAR(slots[s][k][i], element[k], sizeof(T) == 4 ? 4e-5 : 1e-12);
          }
        }
        if (threads == 1) first_w[s] = w[s];
        EXPECT_TRUE(SameBits(first_w[s], w[s]));
      }
    }
  });
}

TEST(Optimizer, StepsFollowTheFormulas) {
  for (const RuleCase& c : Cases()) {
    CheckRule<float>(c);
    CheckRule<double>(c);
  }
}

// Sums over a variable are cut in the same places whatever runs them.
template <class T>
void CheckNorms() {
  constexpr int64_t kRows = 300, kCols = 229, kSize = kRows * kCols;
  ForEachIsa([&] {
    std::vector<T> first;
    for (int threads : {1, 2}) {
      const auto numbers = [](int64_t n, float low, uint32_t seed) {
        const std::vector<float> x = Numbers(n, low, 1, seed);
        return std::vector<T>(x.begin(), x.end());
      };
      std::vector<T> w = numbers(kSize, -1, 1), g = numbers(kSize, -1, 2), m = numbers(kSize, 0, 3),
                     v = numbers(kSize, 0, 4), r = numbers(kRows, 0.1f, 5),
                     c = numbers(kCols, 0.1f, 6);
      WithThreads(threads, [&] {
        LambUpdate<T>({0.9, 0.999, 1e-6, 0.1, 0.001, 1, 1}, 0.01, w.data(), g.data(), m.data(),
                      v.data(), kSize);
        AdafactorUpdate<T>({1e-30, 1e-3, 1, 0.5, 0.01, 1, 1}, w.data(), g.data(), r.data(),
                           c.data(), 1, kRows, kCols);
      });
      w.insert(w.end(), r.begin(), r.end());
      w.insert(w.end(), c.begin(), c.end());
      if (threads == 1) first = w;
      EXPECT_TRUE(SameBits(first, w));
    }
  });
}

TEST(Optimizer, NormsDoNotDependOnThreads) {
  CheckNorms<float>();
  CheckNorms<double>();
}

}  // namespace
}  // namespace ostria
