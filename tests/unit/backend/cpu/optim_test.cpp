// SPDX-License-Identifier: Apache-2.0
// Optimizer ops: scalar formulas, commit, masks, and joining variables that follow each other in
// memory.
#include <algorithm>
#include <functional>

#include "backend/cpu/kernels.h"
#include "ops/ops.h"
#include "tests/unit/backend/cpu/evaluate.h"

namespace ostria::cpu {
namespace {

using Ints = std::vector<int64_t>;

struct Rule {
  const OpDef* op;
  int groups;
  bool has_step;
  std::vector<Attr> attrs;  // without weight_decay and decay
  // w, slots after one step.
  std::function<void(double& w, double g, double* slots, double lr, double step)> step;
};

std::vector<Rule> Rules() {
  return {
      {&ops::kSgdUpdate,
       2,
       false,
       {},
       [](double& w, double g, double*, double lr, double) { w -= lr * g; }},
      {&ops::kMomentumUpdate,
       3,
       false,
       {0.9, false},
       [](double& w, double g, double* s, double lr, double) {
         s[0] = 0.9 * s[0] - lr * g;
         w += s[0];
       }},
      {&ops::kMomentumUpdate,
       3,
       false,
       {0.8, true},
       [](double& w, double g, double* s, double lr, double) {
         s[0] = 0.8 * s[0] - lr * g;
         w += 0.8 * s[0] - lr * g;
       }},
      {&ops::kAdamUpdate,
       4,
       true,
       {0.9, 0.999, 1e-7, false},
       [](double& w, double g, double* s, double lr, double t) {
         s[0] += (g - s[0]) * (1 - 0.9);
         s[1] += (g * g - s[1]) * (1 - 0.999);
         const double alpha = lr * std::sqrt(1 - std::pow(0.999, t)) / (1 - std::pow(0.9, t));
         w -= s[0] * alpha / (std::sqrt(s[1]) + 1e-7);
       }},
      {&ops::kAdagradUpdate,
       3,
       false,
       {1e-7},
       [](double& w, double g, double* s, double lr, double) {
         s[0] += g * g;
         w -= lr * g / std::sqrt(s[0] + 1e-7);
       }},
      {&ops::kRmspropCenteredUpdate,
       5,
       false,
       {0.9, 0.5, 100.0},
       [](double& w, double g, double* s, double lr, double) {
         s[0] += (g * g - s[0]) * (1 - 0.9);
         s[1] += (g - s[1]) * (1 - 0.9);
         s[2] = 0.5 * s[2] + lr * g / std::sqrt(std::max(s[0] - s[1] * s[1], 0.0) + 100);
         w -= s[2];
       }},
      {&ops::kFtrlUpdate,
       4,
       false,
       {-0.5, 0.05, 0.5, 0.25, 0.0, false},
       [](double& w, double g, double* s, double lr, double) {
         const double before = std::sqrt(s[0]);
         s[0] += g * g;
         const double after = std::sqrt(s[0]);
         s[1] += g + 2 * 0.25 * w - (after - before) / lr * w;
         w = (std::clamp(s[1], -0.05, 0.05) - s[1]) / (after / lr + 2 * 0.5);
       }},
      {&ops::kFtrlUpdate,
       4,
       false,
       {-0.5, 0.0, 0.0, 0.0, 0.0, false},  // leaves padding nothing to divide by
       [](double& w, double g, double* s, double lr, double) {
         const double before = std::sqrt(s[0]);
         s[0] += g * g;
         const double after = std::sqrt(s[0]);
         s[1] += g - (after - before) / lr * w;
         w = -s[1] / (after / lr);
       }},
      {&ops::kLionUpdate,
       3,
       false,
       {0.9, 0.99},
       [](double& w, double g, double* s, double lr, double) {
         const double d = 0.9 * s[0] + (1 - 0.9) * g;
         w -= lr * ((d > 0) - (d < 0));
         s[0] = 0.99 * s[0] + (1 - 0.99) * g;
       }},
  };
}

NodeCase Make(const Rule& rule, DType dtype, const std::vector<Shape>& shapes, double decay,
              const Ints& mask, const Ints& outer = {}) {
  NodeCase node{rule.op, {}, rule.attrs};
  for (int group = 0; group < rule.groups; ++group) {
    for (size_t i = 0; i < shapes.size(); ++i) {
      const Shape& s = shapes[i];
      const bool vectors = group == 1 && !outer.empty() && outer[i] > 0;
      node.inputs.push_back({dtype, vectors ? Shape{s[0] + s[1]} : s});
    }
  }
  node.inputs.push_back({DType::kFloat32, {}});
  if (rule.has_step) node.inputs.push_back({DType::kInt64, {}});
  node.inputs.push_back({DType::kFloat32, {}});
  node.inputs.push_back({DType::kBool, {}});
  node.attrs.push_back(decay);
  node.attrs.push_back(mask);
  node.attrs.push_back(Ints{});
  node.attrs.push_back(outer);
  return node;
}

Values Inputs(const Rule& rule, const NodeCase& node, double lr, double step, double scale,
              bool commit) {
  Values in = RandomInputs(node, 3);
  const size_t n = (in.size() - (rule.has_step ? 4 : 3)) / rule.groups;
  for (size_t i = 2 * n; i < rule.groups * n; ++i) {
    for (double& v : in[i])
      v = static_cast<float>(std::abs(v) + 0.1);  // second moments are positive
  }
  size_t at = rule.groups * n;
  in[at++] = {static_cast<float>(lr)};
  if (rule.has_step) in[at++] = {step};
  in[at++] = {static_cast<float>(scale)};
  in[at] = {commit ? 1.0 : 0.0};
  return in;
}

TEST(Optimizers, FollowTheirFormulas) {
  const std::vector<Shape> shapes = {{3, 5}, {1}, {129}};
  for (const Rule& rule : Rules()) {
    for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
      for (const Ints& mask : {Ints{}, Ints{1, 0, 1}}) {
        const NodeCase node = Make(rule, dtype, shapes, 0.01, mask);
        const Values in = Inputs(rule, node, 0.125, 7, 0.5, true);
        const Reference reference = [&](const NodeCase&, const Values& x) {
          const size_t n = shapes.size();
          Values out((rule.groups - 1) * n);
          for (size_t i = 0; i < n; ++i) {
            for (size_t e = 0; e < x[i].size(); ++e) {
              double w = x[i][e], slots[3] = {};
              for (int k = 2; k < rule.groups; ++k) slots[k - 2] = x[k * n + i][e];
              if (mask.empty() || mask[i]) w *= 1 - 0.125 * 0.01;
              rule.step(w, 0.5 * x[n + i][e], slots, 0.125, 7);
              out[i].push_back(w);
              for (int k = 2; k < rule.groups; ++k) out[(k - 1) * n + i].push_back(slots[k - 2]);
            }
          }
          return out;
        };
        const double tolerance = dtype == DType::kFloat32 ? 3e-6 : 1e-12;
        Conform(OptimKernels(), node, in, reference, tolerance);
        ExpectDecomposes(node, in, tolerance);
        const Values held = Inputs(rule, node, 0.125, 7, 0.5, false);
        const Reference same = [&](const NodeCase&, const Values& x) {
          Values out(x.begin(), x.begin() + shapes.size());
          out.insert(out.end(), x.begin() + 2 * shapes.size(),
                     x.begin() + rule.groups * shapes.size());
          return out;
        };
        Conform(OptimKernels(), node, held, same, 0);
        ExpectDecomposes(node, held, 0);
      }
    }
  }
}

// A gradient given as a column and a row gives the same bits as their product, on one thread and
// two.
TEST(Optimizers, MultiplyVectorsOfAnOuterProduct) {
  const std::vector<Shape> shapes = {{300, 70}, {9}, {5, 3}};
  const Ints outer = {300, 0, 5};
  for (const Rule& rule : Rules()) {
    for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const NodeCase node = Make(rule, dtype, shapes, 0.01, {}, outer);
      const Values in = Inputs(rule, node, 0.125, 7, 0.5, true);
      NodeCase whole = Make(rule, dtype, shapes, 0.01, {});
      Values products = in;
      for (size_t i : {0, 2}) {
        const std::vector<double>& v = in[shapes.size() + i];
        std::vector<double>& product = products[shapes.size() + i];
        product.clear();
        for (int64_t r = 0; r < outer[i]; ++r) {
          for (size_t c = static_cast<size_t>(outer[i]); c < v.size(); ++c) {
            product.push_back(dtype == DType::kFloat32
                                  ? static_cast<float>(v[r]) * static_cast<float>(v[c])
                                  : v[r] * v[c]);
          }
        }
      }
      const auto expected = RunAll(OptimKernels(), whole, products, 1)[0];
      ASSERT_TRUE(expected.ran);
      for (int threads : {1, 2}) {
        const auto got = RunAll(OptimKernels(), node, in, threads)[0];
        ASSERT_TRUE(got.ran);
        EXPECT_EQ(got.outputs, expected.outputs) << rule.op->name << " on " << threads;
      }
      ExpectDecomposes(node, in, dtype == DType::kFloat32 ? 3e-6 : 1e-12);
    }
  }
}

// Moments that decayed below the smallest normal number are zeros, not slow; a square too large for
// a float is infinite, and the weight stays.
TEST(Optimizers, KeepZerosAndInfinitiesOfMoments) {
  const Rule rule = Rules()[3];
  const NodeCase node = Make(rule, DType::kFloat32, {{40}}, 0, {});
  Values in = Inputs(rule, node, 0.125, 7, 1, true);
  for (size_t i = 0; i < 40; ++i) {
    const bool decayed = i % 2 == 0;
    in[1][i] = decayed ? 0 : 3e19f;
    in[2][i] = decayed ? 1e-39f : 0;
    in[3][i] = decayed ? 1e-41f : 0;
  }
  const auto run = RunAll(OptimKernels(), node, in, 1)[0];
  ASSERT_TRUE(run.ran);
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(run.outputs[0][i], in[0][i]) << i;
    EXPECT_EQ(run.outputs[2][i], i % 2 == 0 ? 0 : std::numeric_limits<double>::infinity()) << i;
    if (i % 2 == 0) {
      EXPECT_EQ(run.outputs[1][i], 0) << i;
    }
  }
}

// Variables in one chunk, 256-byte aligned, updated in place: joined or not, the same bits.
TEST(Optimizers, JoinNeighboursInPlace) {
  constexpr int kCount = 100;
  for (const Rule& rule : Rules()) {
    std::vector<Shape> shapes;
    Ints mask;
    for (int i = 0; i < kCount; ++i) {
      shapes.push_back({1 + (i * 37) % 200});
      mask.push_back(i % 7 != 0);
    }
    const NodeCase node = Make(rule, DType::kFloat32, shapes, 0.01, mask);
    const Values in = Inputs(rule, node, 0.125, 7, 0.5, true);
    const auto apart = RunAll(OptimKernels(), node, in, 2)[0];
    ASSERT_TRUE(apart.ran);
    // Chunks: one per group, equal offsets; or gradients anywhere, which must not be joined.
    for (bool mirrored : {true, false}) {
      std::vector<int64_t> offsets;
      int64_t size = 0;
      for (const Shape& s : shapes) {
        offsets.push_back(size);
        size += (s.numel() + 63) / 64 * 64;
      }
      std::vector<Tensor> chunks, scattered;
      std::vector<void*> ptrs;
      for (const Shape& s : shapes) scattered.push_back(Tensor::Empty(DType::kFloat32, s));
      for (int group = 0; group < rule.groups; ++group) {
        chunks.push_back(Tensor::Zeros(DType::kFloat32, {size}));
        for (int i = 0; i < kCount; ++i) {
          float* at = chunks.back().data<float>() + offsets[i];
          if (group == 1 && !mirrored) at = scattered[i].data<float>();
          ptrs.push_back(at);
          for (double v : in[group * kCount + i]) *at++ = static_cast<float>(v);
        }
      }
      std::vector<Tensor> scalars;
      for (size_t i = rule.groups * kCount; i < in.size(); ++i) {
        scalars.push_back(ToTensor(node.inputs[i], in[i]));
        ptrs.push_back(scalars.back().raw());
      }
      for (int group = 0; group < rule.groups; ++group) {
        for (int i = 0; group != 1 && i < kCount; ++i) ptrs.push_back(ptrs[group * kCount + i]);
      }
      ptrs.push_back(nullptr);
      std::vector<MemDesc> in_descs, out_descs;
      for (const ValueType& t : node.inputs) in_descs.push_back(MemDesc::Dense(t.dtype, t.shape));
      for (const ValueType& t : node.outputs())
        out_descs.push_back(MemDesc::Dense(t.dtype, t.shape));
      const NodeDesc desc{node.op, node.attrs, in_descs, out_descs, nullptr};
      for (const KernelDef& kernel : OptimKernels()) {
        if (kernel.op != node.op) continue;
        const int slot = rule.groups > 2 ? kCount : 0;
        EXPECT_TRUE(kernel.alias_ok(desc, 3, 3));
        EXPECT_FALSE(kernel.alias_ok(desc, 3, 4));
        if (slot > 0) {
          EXPECT_TRUE(kernel.alias_ok(desc, kCount + 3, 2 * kCount + 3));
        }
        kernel.launch(*kernel.prepare(desc), ptrs.data());
      }
      size_t out = 0;
      for (int group = 0; group < rule.groups; ++group) {
        if (group == 1) continue;
        for (int i = 0; i < kCount; ++i, ++out) {
          const float* at = chunks[group].data<float>() + offsets[i];
          const std::vector<double> got(at, at + shapes[i].numel());
          ASSERT_EQ(got, apart.outputs[out])
              << rule.op->name << " group " << group << " variable " << i;
          const int64_t end = i + 1 < kCount ? offsets[i + 1] : size;
          for (const float* p = at + shapes[i].numel(); p < chunks[group].data<float>() + end;
               ++p) {
            ASSERT_EQ(*p, 0.f) << rule.op->name << ": padding must stay zero";
          }
        }
      }
    }
  }
}

TEST(Optimizers, GlobalNormAndAllFinite) {
  for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
    NodeCase node{&ops::kGlobalNorm, {{dtype, {71, 229}}, {dtype, {}}, {dtype, {5}}}, {}};
    Values in = RandomInputs(node, 3);
    const Reference norm = [](const NodeCase&, const Values& x) {
      double sum = 0;
      for (const auto& t : x) {
        for (double v : t) sum += v * v;
      }
      return Values{{std::sqrt(sum)}};
    };
    Conform(OptimKernels(), node, in, norm, 1e-6);
    ExpectDecomposes(node, in, 1e-6);
    node.op = &ops::kAllFinite;
    node.attrs = {Ints{}};
    for (double bad : {0.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
      in[2][4] = bad;
      Conform(
          OptimKernels(), node, in,
          [&](const NodeCase&, const Values&) { return Values{{bad == 0 ? 1.0 : 0.0}}; }, 0);
      ExpectDecomposes(node, in, 0);
    }
  }
}

TEST(Optimizers, Messages) {
  const Rule rule = Rules()[0];
  NodeCase node = Make(rule, DType::kFloat32, {{3}, {4}}, 0, {});
  node.inputs[3].shape = {5};
  try {
    node.outputs();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), "sgd_update: 'g1' has shape [5], but its variable [4]");
  }
}

// 2e38 * 2 is infinite although both vectors are finite; infinity times zero is NaN.
TEST(Optimizers, AnOuterProductIsFiniteWhereItsElementsAre) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<std::pair<std::vector<double>, bool>> cases = {
      {{1e38, -1, 2, 0.5, -3}, true},
      {{2e38, -1, 2, 0.5, 0}, false},
      {{-2e38, -1, 0, 0.5, -2}, false},
      {{infinity, 1, 0, 0, 0}, false},
      {{1, 2, 3, std::nan(""), 0}, false}};
  for (const auto& [vectors, finite] : cases) {
    const NodeCase node{&ops::kAllFinite, {{DType::kFloat32, {5}}}, {Ints{2}}};
    const double expected = finite;
    Conform(
        OptimKernels(), node, {vectors},
        [&](const NodeCase&, const Values&) { return Values{{expected}}; }, 0);
    ExpectDecomposes(node, {vectors}, 0);
  }
}

}  // namespace
}  // namespace ostria::cpu
