// SPDX-License-Identifier: Apache-2.0
// What passes for GPUs make of a residual block gives its results and gradients in float64, op by
// op on the CPU, whatever of it a device takes.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "autodiff/gradient.h"
#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "passes/pass.h"
#include "runtime/executable.h"

namespace ostria {
namespace {

constexpr DType kDouble = DType::kFloat64;
using Ints = std::vector<int64_t>;

struct Block {
  Graph g;
  Builder b{g, 0};
  std::vector<Value> weights;
  Value Input(const Shape& shape) {
    weights.push_back(g.AddInput(StrCat("x", g.inputs().size()), {kDouble, shape}, 0));
    return weights.back();
  }
  Value Conv(Value x, int64_t in, int64_t out, int64_t window, int64_t stride) {
    const Ints strides(2, stride), padding(4, window / 2), ones(2, 1);
    return b(ops::kConv2d, {x, Input({out, window, window, in})},
             {strides, padding, ones, int64_t{1}});
  }
  std::vector<Value> Norm(Value x, int64_t channels) {
    const std::vector<Value> norm =
        b.Multi(ops::kBatchNorm, {x, Input({channels}), Input({channels})}, {0.01});
    for (int i : {1, 2}) g.AddOutput(StrCat("s", g.outputs().size()), norm[static_cast<size_t>(i)]);
    return norm;
  }
};

// A stem of three channels, then a bottleneck whose 3x3 convolution has this stride.
Graph MakeBlock(int64_t stride) {
  Block k;
  Builder& b = k.b;
  Value x = k.Input({2, 9, 7, 3});
  x = b(ops::kRelu, {k.Norm(k.Conv(x, 3, 8, 3, 1), 8)[0]});
  Value y = b(ops::kRelu, {k.Norm(k.Conv(x, 8, 8, 1, 1), 8)[0]});
  y = b(ops::kRelu, {k.Norm(k.Conv(y, 8, 8, 3, stride), 8)[0]});
  y = k.Norm(k.Conv(y, 8, 16, 1, 1), 16)[0];
  const Value shortcut = k.Norm(k.Conv(x, 8, 16, 1, stride), 16)[0];
  y = b(ops::kRelu, {b(ops::kAdd, {y, shortcut})});
  const Value loss[] = {y};
  const Value cotangent[] = {k.g.AddInput("dy", k.g.type(y), 0)};
  const std::vector<Value> wrt(k.weights.begin() + 1, k.weights.end());
  k.g.AddOutput("y", y);
  for (Value v : Gradients(k.g, loss, cotangent, wrt)) {
    k.g.AddOutput(StrCat("d", k.g.outputs().size()), v);
  }
  EliminateDeadCode(k.g, {});
  return std::move(k.g);
}

std::vector<Tensor> Run(const Graph& g) {
  PlanOptions options{.optimize = false};
  options.device = FindBackend(DeviceKind::kCpu).Props(0);
  std::vector<Tensor> inputs, outputs;
  double phase = 0;
  for (Value v : g.inputs()) {
    inputs.push_back(Tensor::Empty(kDouble, g.shape(v)));
    auto* const data = inputs.back().data<double>();
    for (int64_t i = 0; i < inputs.back().numel(); ++i) data[i] = std::sin(phase += 1.7) + 0.3;
  }
  Executable executable(MakePlan(g, options), {}, {});
  executable.Run(inputs, &outputs);
  return outputs;
}

int Count(const Graph& g, const OpDef& op) {
  int count = 0;
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) count += g.is(n, op) ? 1 : 0;
  return count;
}

void ExpectTheSame(const Graph& before, const Graph& after) {
  Verify(after, "passes");
  const std::vector<Tensor> want = Run(before), got = Run(after);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got[i].shape(), want[i].shape());
    for (int64_t j = 0; j < want[i].numel(); ++j) {
      const double expected = want[i].data<double>()[j];
      ASSERT_NEAR(got[i].data<double>()[j], expected, 1e-10 * std::max(1.0, std::fabs(expected)))
          << "output " << i << " at " << j;
    }
  }
}

// A device that takes `takes`.
Graph After(const Graph& before, const std::function<bool(const OpDef&)>& takes) {
  Graph g = before.Clone();
  PassContext context{.device = DeviceKind::kCuda};
  context.has_kernel = [&](const OpDef& op, std::span<const Attr>, std::span<const ValueType>) {
    return takes(op);
  };
  for (PassFn pass : {FiltersFirst, PadChannels, NormsIntoConvs, SplitNorms, EliminateDeadCode}) {
    pass(g, context);
  }
  return g;
}

TEST(NormPasses, EverythingIsTaken) {
  for (const int64_t stride : {1, 2}) {
    const Graph before = MakeBlock(stride);
    const Graph after = After(before, [](const OpDef&) { return true; });
    EXPECT_EQ(Count(after, ops::kConvStats), 5);
    EXPECT_EQ(Count(after, ops::kConvGradFilterNorm), 2);
    EXPECT_EQ(Count(after, ops::kConvGradInputNorm), 2);
    EXPECT_EQ(Count(after, ops::kBatchNormGrad) + Count(after, ops::kBatchNormStats), 0);
    EXPECT_EQ(Count(after, ops::kRelu), 2);  // where images are stored
    EXPECT_GT(Count(after, ops::kPadChannels), 0);
    ExpectTheSame(before, after);
  }
}

TEST(NormPasses, SumsAlone) {
  const Graph before = MakeBlock(1);
  const Graph after = After(before, [](const OpDef& op) { return &op == &ops::kConvStats; });
  EXPECT_EQ(Count(after, ops::kConvStats), 5);
  EXPECT_EQ(Count(after, ops::kRelu), 4);
  EXPECT_EQ(Count(after, ops::kPadChannels), 0);
  ExpectTheSame(before, after);
}

TEST(NormPasses, NothingIsTaken) {
  const Graph before = MakeBlock(2);
  const Graph after = After(before, [](const OpDef&) { return false; });
  EXPECT_EQ(Count(after, ops::kBatchNormStats), 5);
  EXPECT_EQ(Count(after, ops::kBatchNorm) + Count(after, ops::kConvStats), 0);
  ExpectTheSame(before, after);
}

}  // namespace
}  // namespace ostria
