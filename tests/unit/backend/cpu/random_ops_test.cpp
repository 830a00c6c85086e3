// SPDX-License-Identifier: Apache-2.0
// The generators as ops: the same numbers for any split of a batch, distributions, dropout's mask.
#include <algorithm>
#include <numeric>

#include "backend/cpu/kernels.h"
#include "ops/ops.h"
#include "tests/unit/backend/cpu/evaluate.h"

namespace ostria::cpu {
namespace {

std::vector<double> Draw(const OpDef& op, Shape shape, DType dtype, double a, double b,
                         int64_t offset, int64_t step = 3, int64_t stream = 77) {
  const NodeCase node{
      &op, {{DType::kInt64, {2}}, {DType::kInt64, {}}}, {shape, dtype, a, b, stream}};
  const Values in = {{12345.0, static_cast<double>(step)}, {static_cast<double>(offset)}};
  return ToValues(EvaluateNode(op, node.attrs, ToTensors(node, in), false)[0]);
}

TEST(RandomOps, SplitsOfABatchDrawTheSame) {
  for (const OpDef* op : {&ops::kRandomUniform, &ops::kRandomNormal, &ops::kTruncatedNormal}) {
    for (DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16}) {
      const auto whole = Draw(*op, {10, 3, 7}, dtype, 0, 1, 5);
      std::vector<double> parts;
      for (int64_t rows : {1, 6, 3}) {
        const auto part =
            Draw(*op, {rows, 3, 7}, dtype, 0, 1, 5 + static_cast<int64_t>(parts.size()) / 21);
        parts.insert(parts.end(), part.begin(), part.end());
      }
      EXPECT_EQ(whole, parts) << op->name << " " << Name(dtype);
      EXPECT_NE(whole, Draw(*op, {10, 3, 7}, dtype, 0, 1, 5, 4)) << "the step changes nothing";
      EXPECT_NE(whole, Draw(*op, {10, 3, 7}, dtype, 0, 1, 5, 3, 78))
          << "the stream changes nothing";
    }
  }
}

TEST(RandomOps, Moments) {
  const Shape shape = {1000, 100};
  const auto moments = [](const std::vector<double>& x) {
    const double mean = std::accumulate(x.begin(), x.end(), 0.0) / x.size();
    double var = 0;
    for (double v : x) var += (v - mean) * (v - mean) / x.size();
    return std::pair(mean, std::sqrt(var));
  };
  const auto uniform = Draw(ops::kRandomUniform, shape, DType::kFloat32, -2, 4, 0);
  EXPECT_NEAR(moments(uniform).first, 1, 0.03);
  EXPECT_NEAR(moments(uniform).second, 6 / std::sqrt(12), 0.02);
  EXPECT_GE(*std::min_element(uniform.begin(), uniform.end()), -2);
  EXPECT_LT(*std::max_element(uniform.begin(), uniform.end()), 4);
  const auto normal = Draw(ops::kRandomNormal, shape, DType::kFloat32, 3, 2, 0);
  EXPECT_NEAR(moments(normal).first, 3, 0.03);
  EXPECT_NEAR(moments(normal).second, 2, 0.03);
  const auto truncated = Draw(ops::kTruncatedNormal, shape, DType::kFloat32, 1, 0.5, 0);
  EXPECT_NEAR(moments(truncated).first, 1, 0.01);
  EXPECT_NEAR(moments(truncated).second, 0.5 * 0.87962566, 0.01);
  for (double v : truncated) ASSERT_LE(std::abs(v - 1), 1.0001);
}

TEST(RandomOps, PermutationIsOneAndUniform) {
  const auto draw = [](int64_t n, int64_t step) {
    const NodeCase node{&ops::kRandomPermutation, {{DType::kInt64, {2}}}, {n, int64_t{1}}};
    return ToValues(EvaluateNode(*node.op, node.attrs,
                                 ToTensors(node, {{7.0, static_cast<double>(step)}}), false)[0]);
  };
  std::vector<double> p = draw(3000, 1);
  EXPECT_NE(p, draw(3000, 2));
  EXPECT_EQ(p, draw(3000, 1));
  std::sort(p.begin(), p.end());
  for (int64_t i = 0; i < 3000; ++i) ASSERT_EQ(p[i], static_cast<double>(i));
  std::map<std::vector<double>, int> counts;
  for (int64_t step = 0; step < 6000; ++step) ++counts[draw(3, step)];
  ASSERT_EQ(counts.size(), 6u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 150);
}

TEST(RandomOps, DropoutScalesAndRepeatsItsMask) {
  const auto run = [](const std::vector<double>& x, DType dtype, int64_t rows, int64_t offset) {
    const NodeCase node{&ops::kDropout,
                        {{dtype, {rows, 50}}, {DType::kInt64, {2}}, {DType::kInt64, {}}},
                        {0.25, int64_t{5}}};
    const Values in = {x, {1.0, 2.0}, {static_cast<double>(offset)}};
    return ToValues(EvaluateNode(*node.op, node.attrs, ToTensors(node, in), false)[0]);
  };
  for (DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16}) {
    const std::vector<double> ones(40 * 50, 3.0), twos(40 * 50, 6.0);
    const auto y = run(ones, dtype, 40, 0), z = run(twos, dtype, 40, 0);
    int dropped = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_TRUE(y[i] == 0 || y[i] == 4) << y[i];
      ASSERT_EQ(z[i], 2 * y[i]);  // what the gradient relies on
      dropped += y[i] == 0;
    }
    EXPECT_NEAR(dropped, 500, 80);
    std::vector<double> halves = run(std::vector<double>(15 * 50, 3.0), dtype, 15, 0);
    const auto rest = run(std::vector<double>(25 * 50, 3.0), dtype, 25, 15);
    halves.insert(halves.end(), rest.begin(), rest.end());
    EXPECT_EQ(halves, y);
  }
}

}  // namespace
}  // namespace ostria::cpu
