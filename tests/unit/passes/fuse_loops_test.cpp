// SPDX-License-Identifier: Apache-2.0
// What becomes one loop, what stays apart, and that values do not change.
#include <gtest/gtest.h>

#include "golden.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "passes/pins.h"

namespace ostria {
namespace {

std::string Units(const std::string& text) { return UnitsAfter({FuseLoops}, text); }

TEST(FuseLoops, AChainBecomesOneNode) {
  EXPECT_EQ(After(FuseLoops, R"(input %x "x": float32[4, 8]
input %b "b": float32[8]
%s: float32[4, 8] = add@1(%x, %b)
%t: float32[4, 8] = tanh@1(%s)
output "y" %t
)"),
            R"(input %0 "x": float32[4, 8]
input %1 "b": float32[8]
%2: float32[4, 8] = fused@1(%0, %1) {body = {
  input %0 "x0": float32[4, 8]
  input %1 "x1": float32[8]
  %2: float32[4, 8] = add@1(%0, %1)
  %3: float32[4, 8] = tanh@1(%2)
  output "y0" %3
}}
output "y" %2
)");
}

TEST(FuseLoops, ASingleOpStaysAsItIs) {
  EXPECT_EQ(Units("input %x \"x\": float32[4]\n%t: float32[4] = tanh@1(%x)\noutput \"y\" %t\n"),
            "tanh");
}

// mish has no functor: op by op it would be a softplus, a tanh and a product.
TEST(FuseLoops, AnOpMadeOfOthersIsALoopOfItsOwn) {
  EXPECT_EQ(Units("input %x \"x\": float32[4]\n%t: float32[4] = mish@1(%x)\noutput \"y\" %t\n"),
            "(mish)");
}

TEST(FuseLoops, WhatOthersReadIsAnOutputToo) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 4]
%a: float32[4, 4] = exp@1(%x)
%m: float32[4, 4] = matmul@1(%a, %x)
%b: float32[4, 4] = tanh@1(%a)
output "m" %m
output "b" %b
)"),
            "(exp tanh) matmul");
}

// exp -> matmul -> add(exp, .): the group would need its own result.
TEST(FuseLoops, AGroupNeverDependsOnItself) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 4]
%a: float32[4, 4] = exp@1(%x)
%t: float32[4, 4] = tanh@1(%a)
%m: float32[4, 4] = matmul@1(%t, %x)
%b: float32[4, 4] = add@1(%a, %m)
%c: float32[4, 4] = abs@1(%b)
output "c" %c
)"),
            "(exp tanh) matmul (add abs)");
}

TEST(FuseLoops, TwoBranchesMeetInOneNode) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 4]
input %y "y": float32[4, 4]
%a: float32[4, 4] = exp@1(%x)
%b: float32[4, 4] = tanh@1(%y)
%c: float32[4, 4] = multiply@1(%a, %b)
output "c" %c
)"),
            "(exp tanh multiply)");
}

TEST(FuseLoops, DropoutIsDrawnInside) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 8]
input %r "r": float32[4, 8]
input %k "key": int64[2]
input %o "offset": int64[]
input %s "scale": float32[8]
%d: float32[4, 8] = dropout@1(%x, %k, %o) {rate = 0.1, stream = 7}
%a: float32[4, 8] = add@1(%d, %r)
%n: float32[4, 8], %q: float32[4] = rms_norm@1(%a, %s) {epsilon = 1e-06, axes = 1}
output "n" %n
)"),
            "(dropout add rms_norm)");
}

// A key is read whole, so it must lie in memory before the loop runs.
TEST(FuseLoops, AKeyIsMadeOutside) {
  EXPECT_EQ(Units(R"(input %x "x": int64[2]
input %o "offset": int64[]
%k: int64[2] = add@1(%x, %x)
%c: float32[2] = cast@1(%k) {dtype = float32}
%d: float32[2] = dropout@1(%c, %k, %o) {rate = 0.1, stream = 7}
%e: float32[2] = tanh@1(%d)
output "e" %e
)"),
            "(add cast) (dropout tanh)");
}

TEST(FuseLoops, NormalisationsAndTheirGradientsJoin) {
  EXPECT_EQ(Units(R"(input %g "g": float32[4, 8]
input %x "x": float32[4, 8]
input %s "scale": float32[8]
input %q "rstd": float32[4]
input %h "h": float32[4, 8]
%a: float32[4, 8] = multiply@1(%g, %h)
%dx: float32[4, 8], %ds: float32[8] = rms_norm_grad@1(%a, %x, %s, %q) {axes = 1}
%r: float32[4, 8] = add@1(%dx, %h)
output "r" %r
output "ds" %ds
)"),
            "(multiply rms_norm_grad add)");
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 8]
input %s "s": float32[8]
%y: float32[4, 8] = batch_norm_inference@1(%x, %s, %s, %s, %s) {epsilon = 0.001}
%r: float32[4, 8] = relu@1(%y)
output "r" %r
)"),
            "(batch_norm_inference relu)");
}

TEST(FuseLoops, AFoldOverColumnsIsReadInside) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 8]
%e: float32[4, 8] = exp@1(%x)
%s: float32[4, 1] = sum@1(%e) {axis = ints[1], keepdims = true}
%l: float32[4, 1] = log@1(%s)
%d: float32[4, 8] = subtract@1(%x, %l)
output "d" %d
)"),
            "(exp sum log subtract)");
}

// What users write without keepdims.
TEST(FuseLoops, AnAxisThatIsAddedToAValuePerRowLiesInside) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 8]
%e: float32[4, 8] = exp@1(%x)
%s: float32[4] = sum@1(%e) {axis = ints[1]}
%r: float32[4, 1] = reshape@1(%s) {shape = [4, 1]}
%d: float32[4, 8] = subtract@1(%x, %r)
output "d" %d
)"),
            "(exp sum reshape subtract)");
}

TEST(FuseLoops, IntegersAreAddedUpElsewhere) {
  EXPECT_EQ(Units(R"(input %x "x": int32[4, 8]
%a: int32[4, 8] = add@1(%x, %x)
%b: int32[4, 8] = abs@1(%a)
%s: int64[4] = sum@1(%b) {axis = ints[1]}
output "s" %s
)"),
            "(add abs) sum");
}

// The first group runs when the variable was written, the second every time.
TEST(FuseLoops, WhatDerivesFromStateStaysApart) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4]
state %w "w": float32[4]
%e: float32[4] = exp@1(%w)
%t: float32[4] = tanh@1(%e)
%m: float32[4] = multiply@1(%x, %t)
%a: float32[4] = abs@1(%m)
output "a" %a
)"),
            "(exp tanh) (multiply abs)");
}

TEST(FuseLoops, AFoldOverRowsIsOnlyStored) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 8]
input %y "y": float32[4, 8]
%g: float32[4, 8] = relu_grad@1(%x, %y)
%s: float32[8] = sum@1(%g) {axis = ints[0]}
%d: float32[4, 8] = subtract@1(%g, %s)
%e: float32[4, 8] = tanh@1(%d)
output "e" %e
)"),
            "(relu_grad sum) (subtract tanh)");
}

TEST(FuseLoops, FoldsOverDifferentAxesStayApart) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 8]
%e: float32[4, 8] = exp@1(%x)
%s: float32[4] = sum@1(%e) {axis = ints[1]}
%t: float32[] = sum@1(%e) {axis = ints[]}
output "s" %s
output "t" %t
)"),
            "(exp sum) sum");
}

TEST(FuseLoops, NormalisationTakesItsNeighboursIn) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 8]
input %r "r": float32[4, 8]
input %s "s": float32[8]
input %b "b": float32[8]
%a: float32[4, 8] = add@1(%x, %r)
%y: float32[4, 8], %m: float32[4], %v: float32[4] = layer_norm@1(%a, %s, %b) {epsilon = 0.001, axes = 1}
output "a" %a
output "y" %y
output "m" %m
output "v" %v
)"),
            "(add layer_norm)");
}

TEST(FuseLoops, WhatIsPinnedStaysANode) {
  SetPin(ops::kLayerNorm, "cudnn");
  const std::string units = Units(R"(input %x "x": float32[4, 8]
input %s "s": float32[8]
%a: float32[4, 8] = add@1(%x, %x)
%b: float32[4, 8] = exp@1(%a)
%y: float32[4, 8], %m: float32[4], %v: float32[4] = layer_norm@1(%b, %s, %s) {epsilon = 0.001, axes = 1}
%z: float32[4, 8] = tanh@1(%y)
output "z" %z
)");
  SetPin(ops::kLayerNorm, "");
  EXPECT_EQ(units, "(add exp) layer_norm tanh");
}

// Gradients of three products that arrive one after another: a single sum at the end would keep all
// of them in memory.
TEST(FuseLoops, SumsDoNotWaitForWhatComesLater) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 4]
%a: float32[4, 4] = matmul@1(%x, %x)
%b: float32[4, 4] = matmul@1(%a, %x)
%s: float32[4, 4] = add@1(%a, %b)
%c: float32[4, 4] = matmul@1(%b, %x)
%t: float32[4, 4] = add@1(%s, %c)
%d: float32[4, 4] = matmul@1(%c, %x)
%u: float32[4, 4] = add@1(%t, %d)
output "u" %u
)"),
            "matmul matmul add matmul add matmul add");
}

// x is read once for both.
TEST(FuseLoops, WhatReadsTheSameBecomesOneNode) {
  EXPECT_EQ(After(FuseLoops, R"(input %x "x": float32[4, 8]
input %y "y": float32[4, 8]
%a: float32[4, 8] = abs@1(%x)
%m: float32[4, 8] = multiply@1(%x, %y)
output "a" %a
output "m" %m
)"),
            R"(input %0 "x": float32[4, 8]
input %1 "y": float32[4, 8]
%2: float32[4, 8], %3: float32[4, 8] = fused@1(%0, %1) {body = {
  input %0 "x0": float32[4, 8]
  input %1 "x1": float32[4, 8]
  %2: float32[4, 8] = abs@1(%0)
  %3: float32[4, 8] = multiply@1(%0, %1)
  output "y0" %2
  output "y1" %3
}}
output "a" %2
output "m" %3
)");
}

// Where the read that is saved is less than what a kernel of its own wins.
TEST(FuseLoops, FoldsThatReadTheSameStayApart) {
  const auto units = [](const char* first, const char* second) {
    return Units(StrCat("input %x \"x\": float32[4, 8]\n%a: ", first, "\n%b: ", second,
                        "\noutput \"a\" %a\noutput \"b\" %b\n"));
  };
  const char* rows = "float32[8] = sum@1(%x) {axis = ints[0]}";
  const char* columns = "float32[4] = sum@1(%x) {axis = ints[1]}";
  const char* largest = "float32[4] = max@1(%x) {axis = ints[1]}";
  const char* map = "float32[4, 8] = abs@1(%x)";
  EXPECT_EQ(units(rows, map), "sum abs");
  EXPECT_EQ(units(map, rows), "abs sum");
  EXPECT_EQ(units(columns, largest), "sum max");
  EXPECT_EQ(units(columns, map), "(sum abs)");
  EXPECT_EQ(units(map, columns), "(abs sum)");
}

TEST(FuseLoops, AFoldOverRowsJoinsAGroupThatHasOne) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 4]
%g: float32[4, 4] = matmul@1(%x, %x)
%s: float32[4] = sum@1(%g) {axis = ints[0]}
%h: float32[4, 4] = matmul@1(%g, %x)
%t: float32[4, 4] = tanh@1(%h)
%r: float32[4] = sum@1(%t) {axis = ints[0]}
%d: float32[4, 4] = add@1(%g, %t)
output "s" %s
output "r" %r
output "d" %d
)"),
            "matmul matmul (sum tanh sum add)");
}

// A value and its norm per row, as a residual block has them: the fold waits for the group of the
// sum, and the view of its result does not make that run earlier.
TEST(FuseLoops, AGroupWaitsForAnotherReaderOfTheSame) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 4]
%g: float32[4, 4] = matmul@1(%x, %x)
%s: float32[4, 1] = sum@1(%g) {axis = ints[1], keepdims = true}
%b: float32[2, 2] = reshape@1(%s) {shape = [2, 2]}
%h: float32[4, 4] = matmul@1(%g, %x)
%t: float32[4, 4] = tanh@1(%h)
%d: float32[4, 4] = add@1(%g, %t)
output "b" %b
output "d" %d
)"),
            "matmul matmul (sum tanh add) reshape");
}

TEST(FuseLoops, WhatIsNeededEarlyDoesNotWait) {
  EXPECT_EQ(Units(R"(input %x "x": float32[4, 4]
%t: float32[4, 4] = tanh@1(%x)
%m: float32[4, 4] = matmul@1(%t, %x)
%a: float32[4, 4] = abs@1(%x)
output "m" %m
output "a" %a
)"),
            "tanh matmul abs");
}

// To read x once, two other values would have to live on.
TEST(FuseLoops, ReadingOnceIsNotWorthMoreMemory) {
  const auto units = [](const char* last) {
    return Units(StrCat(R"(input %x "x": float32[4, 4]
input %c "c": bool[4, 4]
%p: float32[4, 4] = matmul@1(%x, %x)
%q: float32[4, 4] = matmul@1(%p, %x)
%s: float32[4, 4] = where@1(%c, %p, %q)
%t: float32[4, 4] = multiply@1(%s, %x)
%m: float32[4, 4] = matmul@1(%x, %x)
%a: float32[4, 4] = subtract@1(%m, %x)
%z: float32[4, 4] = matmul@1(%a, )",
                        last, ")\noutput \"t\" %t\noutput \"z\" %z\n"));
  };
  EXPECT_EQ(units("%x"), "matmul matmul (where multiply) matmul subtract matmul");
  EXPECT_EQ(units("%q"), "matmul matmul matmul (where multiply subtract) matmul");
}

// Every product may join the first exp by what it reads, and only a walk back through all layers
// tells that it depends on it.
TEST(FuseLoops, SearchesGrowWithTheGraph) {
  const auto looked = [](int layers) {
    Graph g;
    Builder b(g, 0);
    const Value w = g.AddInput("w", {DType::kFloat32, {4, 4}}, 0);
    const Value e = b(ops::kExp, {w});
    Value x = b(ops::kMatmul, {e, w});
    for (int i = 0; i < layers; ++i) {
      x = b(ops::kMatmul, {x, w});
      g.AddOutput("y", b(ops::kMultiply, {x, e}));
    }
    int64_t count = 0;
    FuseLoops(g, {.looked = &count});
    return static_cast<double>(count);
  };
  const double few = looked(1024), many = looked(8192);
  EXPECT_GT(few, 1024);
  EXPECT_LT(many / few, 16);  // quadratic: 64
}

// Two loops that exchange nothing.
std::string Apart(const std::string& shape, const std::string& between = "") {
  const std::string type = "float32[" + shape + "]";
  return "input %x \"x\": " + type + "\ninput %y \"y\": " + type + "\n%a: " + type +
         " = exp@1(%x)\n" + between + "%b: " + type +
         " = tanh@1(%y)\noutput \"a\" %a\noutput \"b\" %b\n" +
         (between.empty() ? "" : "output \"m\" %m\n");
}

TEST(FuseLoops, OnAGpuSmallLoopsShareALaunch) {
  const PassContext gpu{.device = DeviceKind::kCuda};
  EXPECT_EQ(UnitsAfter({FuseLoops}, Apart("4, 4"), gpu), "(exp tanh)");
  EXPECT_EQ(UnitsAfter({FuseLoops}, Apart("4, 4"), {}), "exp tanh");
  EXPECT_EQ(UnitsAfter({FuseLoops}, Apart("128, 256"), gpu), "exp tanh");
}

TEST(FuseLoops, ButNotWhereANodeBetweenThemWaitsForOne) {
  const PassContext gpu{.device = DeviceKind::kCuda};
  const std::string product = "%m: float32[4, 4] = matmul@1(%a, %x)\n";
  EXPECT_EQ(UnitsAfter({FuseLoops}, Apart("4, 4", product), gpu), "exp matmul tanh");
}

// Of 40 independent loops 36 are one.
TEST(FuseLoops, GroupsThatShareALaunchStaySmall) {
  Graph g;
  Builder b(g, 0);
  for (int i = 0; i < 40; ++i) {
    g.AddOutput("y", b(ops::kExp, {g.AddInput("x", {DType::kFloat32, {8}}, 0)}));
  }
  FuseLoops(g, {.device = DeviceKind::kCuda});
  EliminateDeadCode(g, {});
  std::vector<int> sizes;
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) sizes.push_back(g.num_results(n));
  EXPECT_EQ(sizes, (std::vector<int>{36, 4}));
}

TEST(FuseLoops, NumbersMoveIntoTheBody) {
  const std::string after = After(FuseLoops, R"(input %x "x": float32[4]
%c: float32[] = full@1() {shape = [], dtype = float32, value = 2.5}
%a: float32[4] = multiply@1(%x, %c)
%b: float32[4] = tanh@1(%a)
output "y" %b
)");
  EXPECT_NE(after.find("fused@1(%0)"), std::string::npos) << after;
}

}  // namespace
}  // namespace ostria
