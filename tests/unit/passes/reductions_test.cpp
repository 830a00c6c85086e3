// SPDX-License-Identifier: Apache-2.0
#include "golden.h"

namespace ostria {
namespace {

// Weights in order of creation, gradients in that of a backward pass. 300 000 floats are 1.14 MB.
const char* const kBackward = R"(input %x "x": float32[batch, 4]
input %lr "lr": float32[]
input %yes "yes": bool[]
state %a "a": float32[300000]
state %b "b": float32[300000]
state %c "c": float32[8]
%one: float32[] = full@1() {shape = [], value = 1}
%gc: float32[8] = exp@1(%c)
%gb: float32[300000] = exp@1(%b)
%ga: float32[300000] = exp@1(%a)
)";

std::string Bucketed(const std::string& text) {
  Graph g = Parse("ostria-graph 1\n" + text);
  BucketReductions(g, {});
  Verify(g, "bucket_reductions");
  const std::string out = Print(g);
  return out.substr(out.find("%7"));
}

TEST(BucketReductions, EachFollowsItsLastWriterAndTheFirstIsSmall) {
  EXPECT_EQ(Bucketed(std::string(kBackward) +
                     "%ra: float32[300000], %rb: float32[300000], %rc: float32[8] = "
                     "all_reduce@1(%ga, %gb, %gc)\n"
                     "%wa: float32[300000], %wb: float32[300000], %wc: float32[8] = "
                     "sgd_update@1(%a, %b, %c, %ra, %rb, %rc, %lr, %one, %yes)\n"
                     "update %a = %wa\nupdate %b = %wb\nupdate %c = %wc\n"),
            R"(%7: float32[8] = exp@1(%5)
%8: float32[8] = all_reduce@1(%7) {reduction = "sum", calls = ints[]}
%9: float32[300000] = exp@1(%4)
%10: float32[300000] = exp@1(%3)
%11: float32[300000], %12: float32[300000] = all_reduce@1(%10, %9) {reduction = "sum", calls = ints[]}
%13: float32[300000], %14: float32[300000], %15: float32[8] = sgd_update@1(%3, %4, %5, %11, %12, %8, %1, %6, %2) {weight_decay = 0, decay = ints[], rates = ints[], outer = ints[]}
update %3 = %13
update %4 = %14
update %5 = %15
)");
}

TEST(BucketReductions, AWriterThatComesLateDelaysWhatFollowsAndOrderStays) {
  // %gc is finished after %gb and %ga, but its bucket is still the first.
  const std::string text = R"(state %a "a": float32[300000]
state %b "b": float32[300000]
state %c "c": float32[8]
%ga: float32[300000] = exp@1(%a)
%gb: float32[300000] = exp@1(%b)
%gc: float32[8] = exp@1(%c)
%ra: float32[300000], %rb: float32[300000], %rc: float32[8] = all_reduce@1(%ga, %gb, %gc)
output "a" %ra
output "b" %rb
output "c" %rc
)";
  Graph g = Parse("ostria-graph 1\n" + text);
  EXPECT_TRUE(BucketReductions(g, {}));
  Verify(g, "bucket_reductions");
  std::string order;
  for (NodeId n = g.first(); n.valid(); n = g.next(n)) order += StrCat(g.num_results(n), " ");
  EXPECT_EQ(order, "1 1 1 1 2 ");  // the small one first, then the two large ones together
}

TEST(BucketReductions, LeavesSmallOnesAndSymbolicSizesAlone) {
  for (const char* shape : {"[8]", "[batch, 300000]"}) {
    Graph g =
        Parse(StrCat("ostria-graph 1\ninput %x \"x\": float32", shape, "\ninput %y \"y\": float32",
                     shape, "\n%r: float32", shape, ", %s: float32", shape,
                     " = all_reduce@1(%x, %y)\noutput \"r\" %r\n", "output \"s\" %s\n"));
    EXPECT_FALSE(BucketReductions(g, {})) << shape;
  }
}

TEST(BucketReductions, MovesWhatStandsLateToItsOperandButNotAheadOfAnotherCollective) {
  Graph g = Parse(R"(ostria-graph 1
input %x "x": float32[8]
%l: float32[8] = exp@1(%x)
%n: float32[8] = all_reduce@1(%x)
%m: float32[8] = tanh@1(%n)
%s: float32[8] = all_reduce@1(%l)
output "m" %m
output "s" %s
)");
  EXPECT_TRUE(BucketReductions(g, {}));
  Verify(g, "bucket_reductions");
  EXPECT_EQ(UnitsAfter({}, Print(g).substr(std::string("ostria-graph 1\n").size())),
            "all_reduce exp all_reduce tanh");
  EXPECT_FALSE(BucketReductions(g, {}));
}

TEST(BucketReductions, MovesTheNumberOfRowsToTheBeginning) {
  Graph g = Parse(R"(ostria-graph 1
input %x "x": float32[batch, 8]
input %before "before": int64[]
%l: float32[batch, 8] = exp@1(%x)
%here: int64[] = dim_product@1() {shape = [batch], dtype = int64}
%n: int64[] = add@1(%before, %here)
%all: int64[] = all_reduce@1(%n)
%s: float32[] = sum@1(%l) {axis = [], keepdims = false}
%ls: float32[] = all_reduce@1(%s)
output "l" %ls
output "n" %all
)");
  EXPECT_TRUE(BucketReductions(g, {}));
  Verify(g, "bucket_reductions");
  EXPECT_EQ(UnitsAfter({}, Print(g).substr(std::string("ostria-graph 1\n").size())),
            "dim_product add all_reduce exp sum all_reduce");
  EXPECT_FALSE(BucketReductions(g, {}));
}

TEST(BucketReductions, LooksAtEachNumberOnce) {
  std::string text = "ostria-graph 1\ninput %x \"x\": float32[]\n%s0: float32[] = exp@1(%x)\n";
  for (int i = 1; i <= 60; ++i) {  // 2^60 ways lead to the first
    text += StrCat("%s", i, ": float32[] = multiply@1(%s", i - 1, ", %s", i - 1, ")\n");
  }
  Graph g = Parse(text + "%r: float32[] = all_reduce@1(%s60)\noutput \"r\" %r\n");
  EXPECT_FALSE(BucketReductions(g, {}));
}

TEST(BucketReductions, MovesScattersUpWithWhatLaysOutTheirOperandsWhereTheyAreWorkOfAStream) {
  const char* const text = R"(ostria-graph 1
input %x "x": float32[8]
%gb: float32[8] = exp@1(%x)
%ga: float32[8] = tanh@1(%gb)
%rb: float32[2, 4] = reshape@1(%gb) {shape = [2, 4]}
%sb: float32[1, 4] = reduce_scatter@1(%rb) {reduction = "sum", replicas = 2}
%ra: float32[2, 4] = reshape@1(%ga) {shape = [2, 4]}
%both: float32[2, 8] = concat@1(%ra, %rb) {axis = 1}
%sa: float32[1, 8] = reduce_scatter@1(%both) {reduction = "sum", replicas = 2}
%last: float32[8] = sin@1(%ga)
output "b" %sb
output "a" %sa
output "last" %last
)";
  const PassContext stream{.device = DeviceKind::kCuda};
  Graph g = Parse(text);
  EXPECT_TRUE(BucketReductions(g, stream));
  Verify(g, "bucket_reductions");
  EXPECT_EQ(UnitsAfter({}, Print(g).substr(std::string("ostria-graph 1\n").size())),
            "exp reshape reduce_scatter tanh reshape concat reduce_scatter sin");
  EXPECT_FALSE(BucketReductions(g, stream));
  Graph on_cpu = Parse(text);
  EXPECT_FALSE(BucketReductions(on_cpu, {}));
}

TEST(OverlapReductions, StartsBehindTheOperandAndWaitsInFrontOfTheReader) {
  EXPECT_EQ(After(OverlapReductions, R"(input %x "x": float32[8]
input %y "y": float32[8]
%g: float32[8] = exp@1(%x)
%h: float32[8] = tanh@1(%y)
%r: float32[8] = all_reduce@1(%g)
%s: float32[8] = sin@1(%h)
%t: float32[8] = add@1(%r, %s)
output "t" %t
)"),
            R"(input %0 "x": float32[8]
input %1 "y": float32[8]
%2: float32[8] = exp@1(%0)
%3: float32[8] = all_reduce_start@1(%2) {reduction = "sum", calls = ints[], slot = 0}
%4: float32[8] = tanh@1(%1)
%5: float32[8] = sin@1(%4)
%6: float32[8] = all_reduce_wait@1(%3) {reduction = "sum", calls = ints[], slot = 0}
%7: float32[8] = add@1(%6, %5)
output "t" %7
)");
}

TEST(OverlapReductions, KeepsTheOrderOfCollectivesAndWhatHasNothingToHideBehind) {
  // %r could begin first, but all ranks gather before they reduce.
  EXPECT_EQ(After(OverlapReductions, R"(input %x "x": float32[8]
input %y "y": float32[8]
%g: float32[8] = exp@1(%x)
%a: float32[16] = all_gather@1(%y) {replicas = 2}
%r: float32[8] = all_reduce@1(%g)
%t: float32[8] = sin@1(%r)
output "t" %t
output "a" %a
)"),
            R"(input %0 "x": float32[8]
input %1 "y": float32[8]
%2: float32[8] = exp@1(%0)
%3: float32[16] = all_gather@1(%1) {replicas = 2}
%4: float32[8] = all_reduce@1(%2) {reduction = "sum", calls = ints[]}
%5: float32[8] = sin@1(%4)
output "t" %5
output "a" %3
)");
}

TEST(Collectives, AreNeitherMergedNorDropped) {
  const std::string text = R"(input %x "x": float32[8]
%a: float32[8] = all_reduce@1(%x)
%b: float32[8] = all_reduce@1(%x)
%c: float32[8] = all_reduce@1(%x)
%t: float32[8] = add@1(%a, %b)
output "t" %t
)";
  EXPECT_EQ(UnitsAfter({MergeCommonSubexpressions, EliminateDeadCode}, text),
            "all_reduce all_reduce all_reduce add");
}

// What a rank adds to others' must be whole: other ranks name other rows.
TEST(Collectives, EndRowsAndOuterProductsOfGradients) {
  std::vector<std::string> report;
  PassContext context;
  context.report = &report;
  Graph table = Parse(R"(ostria-graph 1
input %ids "ids": int64[8]
input %dy "dy": float32[8, 4]
input %lr "lr": float32[]
input %yes "yes": bool[]
state %w "w": float32[1000, 4]
%zeros: float32[1000, 4] = full@1() {shape = [1000, 4], value = 0}
%one: float32[] = full@1() {shape = [], value = 1}
%y: float32[8, 4] = gather@1(%w, %ids)
%g: float32[1000, 4] = scatter_add@1(%zeros, %ids, %dy)
%r: float32[1000, 4] = all_reduce@1(%g)
%new: float32[1000, 4] = sgd_update@1(%w, %r, %lr, %one, %yes)
update %w = %new
output "y" %y
)");
  EXPECT_FALSE(RowUpdates(table, context));
  ASSERT_EQ(report.size(), 1u);
  EXPECT_NE(report[0].find("its gradient comes from all_reduce"), std::string::npos) << report[0];
  Graph dense = Parse(R"(ostria-graph 1
input %x "x": float32[1, 64]
input %dy "dy": float32[1, 32]
input %lr "lr": float32[]
input %yes "yes": bool[]
state %w "w": float32[64, 32]
%one: float32[] = full@1() {shape = [], value = 1}
%g: float32[64, 32] = matmul@1(%x, %dy) {transpose_a = true, transpose_b = false}
%r: float32[64, 32] = all_reduce@1(%g)
%new: float32[64, 32] = sgd_update@1(%w, %r, %lr, %one, %yes)
update %w = %new
)");
  EXPECT_FALSE(OuterGradients(dense, context));
}

TEST(Collectives, AreRefusedInBodiesThatDataRepeat) {
  const std::string text = R"(ostria-graph 1
input %p "p": bool[]
input %x "x": float32[8]
%y: float32[8] = cond@1(%p, %x) {true_body = {
  input %0 "x": float32[8]
  %1: float32[8] = all_reduce@1(%0)
  output "y" %1
}, false_body = {
  input %0 "x": float32[8]
  %1: float32[8] = exp@1(%0)
  output "y" %1
}}
output "y" %y
)";
  try {
    Parse(text);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("the branch for true holds all_reduce"), std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace ostria
